// SPDX-License-Identifier: Apache-2.0
//
// For tests: a server of one session in memory, behind a line that loses calls on demand. A step
// adds the gradient to the parameters, so that a step taken twice is seen.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client/cpp/talweg/float_bytes.h"
#include "client/cpp/talweg/status.h"
#include "client/cpp/talweg/transport.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace talweg {

// An error as the server sends it.
inline absl::Status ServerError(absl::StatusCode code, absl::string_view reason,
                                absl::string_view field = "", const ErrorMetadata& metadata = {}) {
  google::rpc::ErrorInfo info;
  info.set_domain("talweg");
  info.set_reason(std::string(reason));
  for (const auto& [name, value] : metadata) (*info.mutable_metadata())[name] = value;
  google::rpc::Status details;
  details.add_details()->PackFrom(info);
  if (!field.empty()) {
    google::rpc::BadRequest bad_request;
    bad_request.add_field_violations()->set_field(std::string(field));
    details.add_details()->PackFrom(bad_request);
  }
  return StatusFromDetails(static_cast<int>(code), reason, details.SerializeAsString());
}

// What happens to the next call.
enum class Fault {
  kNone,
  kLoseRequest,  // UNAVAILABLE; the server never saw it
  kLoseReply,    // UNAVAILABLE; the server did it
  kLateReply,    // DEADLINE_EXCEEDED; the server did it
};

// The server. Thread-safe.
struct FakeServer {
  std::mutex mutex;
  std::deque<Fault> faults;           // of the next calls that are not heartbeats
  std::deque<absl::Status> refusals;  // answers of the next calls that reach the server
  std::vector<float> parameters = std::vector<float>(4, 0.0f);
  uint64_t history = 7;
  uint64_t version = 0;
  uint64_t incarnation = 0;
  uint64_t last_sequence = 0;
  uint64_t last_version = 0;
  uint64_t lease_seconds = 30;
  v1::Session session;  // what Get answers; empty: no such session
  bool joined = false;
  std::vector<std::string> request_ids;  // of every create that came
  std::vector<v1::StepRequest> steps;    // every Step that came
  std::vector<v1::PullRequest> pulls;    // every Pull that came
  size_t pull_chunk = 2;                 // elements of a message
  size_t break_pull_after = 0;           // messages of the next pull until it breaks; 0: never
  bool step_at_break = false;            // a step to all tens is taken when a pull breaks
  std::vector<v1::StepRecord> records;   // what a watch tells, an entry a message
  std::vector<v1::WatchSessionRequest> watches;  // every Watch that came
  std::deque<absl::Status> watch_ends;           // how the next watches end; none: OK
  size_t end_watch_after = 0;                    // records of each watch until its end; 0: all
  int num_heartbeats = 0;
  int num_reconnects = 0;
};

class FakeTransport final : public Transport {
 public:
  explicit FakeTransport(std::shared_ptr<FakeServer> server) : server_(std::move(server)) {}

  absl::Status Call(const v1::CreateSessionRequest& request, v1::CreateSessionResponse& response,
                    absl::Duration) override {
    return Through([&] {
      server_->request_ids.push_back(request.request_id());
      const bool mine = request.request_id() == server_->request_ids.front();
      if (!server_->session.session_id().empty() && !mine) {
        return ServerError(absl::StatusCode::kAlreadyExists, "SESSION_EXISTS", "session_id");
      }
      server_->session.set_session_id(request.session_id());
      server_->session.set_history(server_->history);
      *server_->session.mutable_config() = request.config();
      *response.mutable_session() = server_->session;
      return absl::OkStatus();
    });
  }
  absl::Status Call(const v1::GetSessionRequest&, v1::GetSessionResponse& response,
                    absl::Duration) override {
    return Through([&] {
      if (server_->session.session_id().empty()) return NotFound();
      *response.mutable_session() = server_->session;
      return absl::OkStatus();
    });
  }
  // Two pages: "a", then "b".
  absl::Status Call(const v1::ListSessionsRequest& request, v1::ListSessionsResponse& response,
                    absl::Duration) override {
    return Through([&] {
      response.add_sessions()->set_session_id(request.page_token().empty() ? "a" : "b");
      if (request.page_token().empty()) response.set_next_page_token("after a");
      return absl::OkStatus();
    });
  }
  absl::Status Call(const v1::UpdateSessionRequest&, v1::UpdateSessionResponse& response,
                    absl::Duration) override {
    return Through([&] {
      *response.mutable_session() = server_->session;
      return absl::OkStatus();
    });
  }
  absl::Status Call(const v1::DeleteSessionRequest& request, v1::DeleteSessionResponse&,
                    absl::Duration) override {
    return Through([&] {
      if (server_->session.session_id().empty()) return NotFound();
      if (request.history() != server_->session.history()) return HistoryChanged();
      server_->session.Clear();
      server_->joined = false;
      return absl::OkStatus();
    });
  }
  absl::Status Call(const v1::JoinRequest&, v1::JoinResponse& response, absl::Duration) override {
    return Through([&] {
      server_->joined = true;
      server_->last_sequence = 0;
      response.set_history(server_->history);
      response.set_version(server_->version);
      response.set_incarnation(++server_->incarnation);
      response.set_lease_seconds(server_->lease_seconds);
      return absl::OkStatus();
    });
  }
  absl::Status Call(const v1::HeartbeatRequest&, v1::HeartbeatResponse& response,
                    absl::Duration) override {
    const std::lock_guard<std::mutex> lock(server_->mutex);
    ++server_->num_heartbeats;
    response.set_lease_seconds(server_->lease_seconds);
    return absl::OkStatus();
  }
  absl::Status Call(const v1::LeaveRequest&, v1::LeaveResponse&, absl::Duration) override {
    return Through([&] {
      if (!server_->joined) {
        return ServerError(absl::StatusCode::kFailedPrecondition, "WORKER_NOT_JOINED");
      }
      server_->joined = false;
      return absl::OkStatus();
    });
  }
  absl::Status Call(const v1::StepRequest& request, v1::StepResponse& response,
                    absl::Duration) override {
    return Through([&] {
      server_->steps.push_back(request);
      if (request.header().history() != server_->history) return HistoryChanged();
      response.Clear();
      const bool replayed = request.header().sequence() == server_->last_sequence;
      if (!replayed) {
        std::vector<float> gradient(server_->parameters.size());
        CopyFloats(request.sections(0).data(), absl::MakeSpan(gradient));
        for (size_t i = 0; i < gradient.size(); ++i) server_->parameters[i] += gradient[i];
        server_->last_sequence = request.header().sequence();
        server_->last_version = ++server_->version;
      }
      response.set_history(server_->history);
      response.set_verdict(v1::VERDICT_APPLIED);
      response.set_replayed(replayed);
      response.set_applied_version(server_->last_version);
      response.set_data_version(server_->version);
      response.mutable_report()->set_contributors(1);
      if (request.reply().data() == v1::REPLY_DATA_PARAMETERS) {
        v1::Section& section = *response.add_sections();
        section.set_kind(v1::SECTION_KIND_PARAMETERS);
        AssignFloats(server_->parameters, *section.mutable_data());
      }
      return absl::OkStatus();
    });
  }
  absl::Status Pull(const v1::PullRequest& request, TakeMessage take, absl::Duration) override {
    return Through([&]() -> absl::Status {
      server_->pulls.push_back(request);
      if (request.has_version() && request.version() != server_->version) {
        return ServerError(absl::StatusCode::kFailedPrecondition, "VERSION_GONE");
      }
      size_t num_messages = 0;
      for (size_t begin = request.begin_element(); begin < server_->parameters.size();
           begin += server_->pull_chunk) {
        v1::PullResponse message;
        message.set_history(server_->history);
        message.set_version(server_->version);
        message.set_num_elements(server_->parameters.size());
        message.mutable_section()->set_begin_element(begin);
        AssignFloats(absl::MakeConstSpan(server_->parameters).subspan(begin, server_->pull_chunk),
                     *message.mutable_section()->mutable_data());
        const absl::Status taken = take(message);
        if (!taken.ok()) return taken;
        if (++num_messages == server_->break_pull_after) {
          server_->break_pull_after = 0;
          if (server_->step_at_break) {
            server_->parameters.assign(server_->parameters.size(), 10.0f);
            ++server_->version;
          }
          return absl::UnavailableError("broken");
        }
      }
      return absl::OkStatus();
    });
  }
  // A first message without records, then one for each. Silence, once, where it follows.
  absl::Status Watch(const v1::WatchSessionRequest& request, TakeSteps take, Idle idle,
                     absl::Duration) override {
    return Through([&]() -> absl::Status {
      server_->watches.push_back(request);
      if (request.history() != 0 && request.history() != server_->history) return HistoryChanged();
      v1::WatchSessionResponse message;
      message.set_history(server_->history);
      absl::Status taken = take(message);
      size_t num_told = 0;
      for (const v1::StepRecord& record : server_->records) {
        if (!taken.ok()) return taken;
        if (record.version() <= request.after_version()) continue;
        message.clear_records();
        *message.add_records() = record;
        taken = take(message);
        if (++num_told == server_->end_watch_after) break;
      }
      if (taken.ok() && request.follow()) taken = idle();
      if (!taken.ok() || server_->watch_ends.empty()) return taken;
      const absl::Status end = server_->watch_ends.front();
      server_->watch_ends.pop_front();
      return end;
    });
  }
  void Reconnect() override {
    const std::lock_guard<std::mutex> lock(server_->mutex);
    ++server_->num_reconnects;
  }
  std::unique_ptr<Transport> Clone() const override {
    return std::make_unique<FakeTransport>(server_);
  }

 private:
  static absl::Status NotFound() {
    return ServerError(absl::StatusCode::kNotFound, "SESSION_NOT_FOUND", "session_id");
  }
  absl::Status HistoryChanged() const {
    return ServerError(absl::StatusCode::kAborted, "HISTORY_CHANGED", "",
                       {{"history", std::to_string(server_->history)},
                        {"version", std::to_string(server_->version)}});
  }

  // Runs `serve` as the next fault and refusal say.
  absl::Status Through(absl::FunctionRef<absl::Status()> serve) {
    const std::lock_guard<std::mutex> lock(server_->mutex);
    Fault fault = Fault::kNone;
    if (!server_->faults.empty()) {
      fault = server_->faults.front();
      server_->faults.pop_front();
    }
    if (fault == Fault::kLoseRequest) return absl::UnavailableError("request lost");
    if (!server_->refusals.empty()) {
      const absl::Status refusal = server_->refusals.front();
      server_->refusals.pop_front();
      return refusal;
    }
    const absl::Status served = serve();
    if (fault == Fault::kLoseReply) return absl::UnavailableError("reply lost");
    if (fault == Fault::kLateReply) return absl::DeadlineExceededError("too late");
    return served;
  }

  const std::shared_ptr<FakeServer> server_;
};

}  // namespace talweg
