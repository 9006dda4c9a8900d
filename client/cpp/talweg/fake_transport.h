// SPDX-License-Identifier: Apache-2.0
//
// For tests: the way to a FakeServer, which loses calls on demand.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "client/cpp/talweg/fake_server.h"
#include "client/cpp/talweg/fake_step_stream.h"
#include "client/cpp/talweg/transport.h"
#include "core/base/checksum.h"
#include "gtest/gtest.h"

namespace talweg {

class FakeTransport final : public Transport {
 public:
  explicit FakeTransport(std::shared_ptr<FakeServer> server) : server_(std::move(server)) {
    const std::lock_guard<std::mutex> lock(server_->mutex);
    connection_ = server_->num_connections++;
  }

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
  absl::Status Call(const v1::JoinRequest& request, v1::JoinResponse& response,
                    absl::Duration) override {
    return Through([&] {
      const bool is_repeat = server_->joined && !request.nonce().empty() &&
                             request.nonce() == server_->joins.back().nonce();
      server_->joins.push_back(request);
      server_->joined = true;
      response.set_replies_wait(server_->replies_wait);
      if (!is_repeat) {
        server_->last_sequence = 0;
        ++server_->incarnation;
      }
      response.set_history(server_->history);
      response.set_version(server_->version);
      response.set_incarnation(server_->incarnation);
      response.set_lease_seconds(server_->lease_seconds);
      return absl::OkStatus();
    });
  }
  absl::Status Call(const v1::HeartbeatRequest&, v1::HeartbeatResponse& response,
                    absl::Duration) override {
    const std::lock_guard<std::mutex> lock(server_->mutex);
    if (server_->num_lost_heartbeats > 0) {
      --server_->num_lost_heartbeats;
      return absl::UnavailableError("heartbeat lost");
    }
    ++server_->num_heartbeats;
    server_->heartbeat_connections.insert(connection_);
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
  absl::Status Wait(const v1::StepRequest& request, v1::StepResponse& response, Idle idle,
                    absl::Duration) override {
    const absl::Status go_on = idle();
    return go_on.ok() ? Call(request, response, absl::InfiniteDuration()) : go_on;
  }
  // A FakeServer trains by gradients.
  absl::Status Wait(const v1::AskRequest&, v1::AskResponse&, Idle, absl::Duration) override {
    return ServerError(absl::StatusCode::kFailedPrecondition, "WRONG_METHOD");
  }
  absl::Status Wait(const v1::TellRequest&, v1::TellResponse&, Idle, absl::Duration) override {
    return ServerError(absl::StatusCode::kFailedPrecondition, "WRONG_METHOD");
  }
  absl::Status WatchGenerations(const v1::WatchGenerationsRequest&, TakeGeneration, Idle,
                                absl::Duration) override {
    return ServerError(absl::StatusCode::kFailedPrecondition, "WRONG_METHOD");
  }
  absl::Status Call(const v1::ListVersionRecordsRequest& request,
                    v1::ListVersionRecordsResponse& response, absl::Duration) override {
    return Through([&] {
      server_->record_requests.push_back(request);
      response.Clear();
      response.set_history(server_->history);
      for (const v1::VersionRecord& record : server_->made) {
        if (record.version() <= request.after_version()) continue;
        response.set_more(response.records_size() == 2);
        if (response.more()) break;
        *response.add_records() = record;
      }
      return absl::OkStatus();
    });
  }
  absl::Status Call(const v1::StepRequest& request, v1::StepResponse& response,
                    absl::Duration) override {
    return Through([&]() -> absl::Status {
      server_->steps.push_back(request);
      server_->step_connections.insert(connection_);
      response.Clear();
      std::vector<float> gradient(server_->parameters.size());
      if (request.header().abstain()) {
        EXPECT_TRUE(request.sections().empty());
      } else {
        const v1::Section& section = request.sections(0);
        DecodeFloats(section.dtype(), section.data().data(), absl::MakeSpan(gradient));
      }
      const absl::Status judged = Judge(*server_, request.header(), gradient, response);
      if (!judged.ok()) return judged;
      if (response.verdict() == v1::VERDICT_PENDING && !request.reply().return_pending() &&
          !server_->answers_pending) {
        server_->StaysSilent([&] { server_->CloseRound(); });
        return absl::DeadlineExceededError("the round is open");
      }
      if (request.reply().data() != v1::REPLY_DATA_NONE) {
        const v1::Point point = request.reply().data() == v1::REPLY_DATA_LOOKAHEAD
                                    ? v1::POINT_LOOKAHEAD
                                    : v1::POINT_PARAMETERS;
        *response.add_sections() =
            SectionOf(*server_, point, request.reply().dtype(), 0, server_->parameters.size());
      }
      return absl::OkStatus();
    });
  }
  absl::Status Pull(const v1::PullRequest& request, TakeMessage take, Idle idle,
                    absl::Duration) override {
    return Through([&]() -> absl::Status {
      server_->pulls.push_back(request);
      if (request.min_version() > server_->version) {
        const absl::Status go_on = idle();
        if (!go_on.ok()) return go_on;
        server_->StaysSilent([&] { ++server_->version; });
        return absl::DeadlineExceededError("that version is not made yet");
      }
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
        message.set_next_learning_rate(server_->next_learning_rate);
        *message.mutable_section() =
            SectionOf(*server_, request.point(), request.dtype(), begin, server_->pull_chunk);
        if (request.checksums()) message.set_crc32c(core::Crc32c(message.section().data()));
        if (num_messages + 1 == server_->corrupt_pull_message) {
          server_->corrupt_pull_message = 0;
          message.mutable_section()->mutable_data()->front() ^= 1;
        }
        const absl::Status taken = take(message);
        if (!taken.ok()) return taken;
        if (++num_messages == server_->break_pull_after) {
          server_->break_pull_after = 0;
          if (server_->step_at_break) {
            server_->parameters.assign(server_->parameters.size(), 10.0f);
            ++server_->version;
          }
          if (server_->rate_changes_at_break) server_->next_learning_rate *= 2;
          return absl::UnavailableError("broken");
        }
      }
      return absl::OkStatus();
    });
  }
  // Keeps what arrives of an upload, and breaks its streams as `upload_faults` say.
  absl::Status UploadSession(const v1::CreateSessionRequest& create, TakeGrant take, NextFrame next,
                             v1::CreateSessionResponse& response, absl::Duration) override {
    return Through([&]() -> absl::Status {
      server_->uploads.push_back(create);
      size_t frames_left = server_->uploads.size() <= server_->upload_frames.size()
                               ? server_->upload_frames[server_->uploads.size() - 1]
                               : SIZE_MAX;
      if (server_->session.session_id().empty()) {
        v1::UploadGrant grant;
        grant.set_begin_element(server_->uploaded.size());
        grant.set_num_elements(server_->parameters.size());
        server_->upload_grants.push_back(grant.begin_element());
        const absl::Status taken = take(grant);
        if (!taken.ok()) return taken;
        v1::UploadSessionRequest frame;
        for (; next(frame); frame.Clear()) {
          if (frames_left-- == 0) return server_->upload_end;
          if (frame.has_chunk()) {
            const v1::Section& section = frame.chunk().section();
            if (section.begin_element() != server_->uploaded.size() ||
                frame.chunk().crc32c() != core::Crc32c(section.data())) {
              return ServerError(absl::StatusCode::kInvalidArgument, "CHUNK_MISPLACED");
            }
            const size_t count = section.data().size() / DtypeBytes(section.dtype());
            server_->uploaded.resize(server_->uploaded.size() + count);
            DecodeFloats(section.dtype(), section.data().data(),
                         absl::MakeSpan(server_->uploaded).subspan(section.begin_element()));
            continue;
          }
          if (frame.commit().crc32c() != core::Crc32c(absl::MakeConstSpan(server_->uploaded))) {
            server_->uploaded.clear();
            return ServerError(absl::StatusCode::kDataLoss, "CHUNK_CORRUPT");
          }
          server_->session.set_session_id(create.session_id());
        }
      }
      *response.mutable_session() = server_->session;
      return frames_left == 0 ? server_->upload_end : absl::OkStatus();
    });
  }
  std::unique_ptr<StepStream> OpenStepStream() override {
    return std::make_unique<FakeStepStream>(server_);
  }
  // A first message without records, then one message per record. If the watch follows, one silence
  // comes after them.
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
  bool Rest(absl::Duration duration) override {
    {
      const std::lock_guard<std::mutex> lock(server_->mutex);
      ++server_->num_rests;
      if (server_->comes_back_at_once) return true;
    }
    absl::SleepFor(duration);
    return false;
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
  absl::Status HistoryChanged() const { return talweg::HistoryChanged(*server_); }

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
  int connection_ = 0;
};

}  // namespace talweg
