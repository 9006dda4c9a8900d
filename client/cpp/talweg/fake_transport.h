// SPDX-License-Identifier: Apache-2.0
//
// For tests: a server of one session in memory, behind a line that loses calls on demand. A step
// adds the gradient to the parameters, so that a step taken twice is seen.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/cpp/talweg/dtype.h"
#include "client/cpp/talweg/status.h"
#include "client/cpp/talweg/transport.h"
#include "core/base/checksum.h"
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

// What happens to the next contribution that comes over a stream: where the stream breaks, if it
// does.
enum class StreamFault {
  kNone,
  kBeforeGrant,
  kMidChunks,      // behind the first
  kLoseCommit,     // the server never saw it
  kBeforeData,     // the step was taken
  kMidData,        // behind the first data frame, which the caller has
  kBeforeTrailer,  // behind the last
  kHang,           // the step was taken; nothing comes, nothing breaks
  kMidWait,        // behind twenty looks of a contribution that waits for others
  kCorruptChunk,   // the server refuses it
  kCorruptData,    // the second data frame does not fit its checksum
  kCorruptSum,     // all data frames together do not fit theirs
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
  bool rate_changes_at_break = false;    // the learning rate is doubled when a pull breaks
  size_t corrupt_pull_message = 0;       // of the next pull, from 1; 0: none
  double next_learning_rate = 0.5;       // a lookahead is the parameters plus this
  std::deque<StreamFault> stream_faults;
  std::vector<v1::StreamHeader> stream_headers;  // every one that came
  std::vector<std::string> stream_trace;         // "open", "chunk 1" (in), "data" (out), …
  std::vector<v1::StepRecord> records;           // what a watch tells, an entry a message
  std::vector<v1::WatchSessionRequest> watches;  // every Watch that came
  std::deque<absl::Status> watch_ends;           // how the next watches end; none: OK
  size_t end_watch_after = 0;                    // records of each watch until its end; 0: all
  // A fleet: while the round is open a contribution waits for others. Calls that wait are silent, a
  // look or an attempt each, until `num_silences` of them have passed; then the others come, and
  // the round closes. A pull that waits for a version waits for the next one.
  bool replies_wait = false;
  bool round_open = false;
  bool answers_pending = false;  // whoever would wait is told at once that it is pending
  int num_silences = 0;
  std::optional<std::vector<float>> pending;  // that waits in the round
  std::vector<v1::JoinRequest> joins;         // every Join that came
  std::vector<v1::SectionKind> chunk_kinds;   // of every chunk that came
  std::vector<v1::VersionRecord> made;        // what ListVersionRecords tells, two on a page
  std::vector<v1::ListVersionRecordsRequest> record_requests;
  int num_connections = 0;  // transports that were made
  std::set<int> heartbeat_connections;
  std::set<int> step_connections;
  int num_heartbeats = 0;
  int num_reconnects = 0;

  void Apply(absl::Span<const float> gradient) {
    for (size_t i = 0; i < gradient.size(); ++i) parameters[i] += gradient[i];
    last_version = ++version;
  }
  // The others have come.
  void CloseRound() {
    round_open = false;
    if (pending.has_value()) Apply(*pending);
    pending.reset();
  }
  // Whether whoever waits has still to wait; `end` is what happens when it has not.
  template <class End>
  bool StaysSilent(const End& end) {
    if (num_silences == 0) return false;
    if (--num_silences == 0) end();
    return true;
  }
};

inline absl::Status HistoryChanged(const FakeServer& server) {
  return ServerError(
      absl::StatusCode::kAborted, "HISTORY_CHANGED", "",
      {{"history", std::to_string(server.history)}, {"version", std::to_string(server.version)}});
}

// What became of a contribution: the step, or the remembered answer; VERDICT_PENDING while it
// waits.
inline absl::Status Judge(FakeServer& server, const v1::ContributionHeader& header,
                          absl::Span<const float> gradient, v1::StepResponse& response) {
  if (header.history() != server.history) return HistoryChanged(server);
  if (header.sequence() < server.last_sequence) {
    return ServerError(absl::StatusCode::kFailedPrecondition, "SEQUENCE_TOO_OLD");
  }
  const bool replayed = header.sequence() == server.last_sequence;
  if (!replayed) {
    server.last_sequence = header.sequence();
    if (server.round_open) {
      server.pending.emplace(gradient.begin(), gradient.end());
    } else {
      server.Apply(gradient);
    }
  }
  const bool waits = server.pending.has_value();
  response.set_history(server.history);
  response.set_verdict(waits ? v1::VERDICT_PENDING : v1::VERDICT_APPLIED);
  response.set_replayed(replayed);
  response.set_applied_version(waits ? server.version + 1 : server.last_version);
  response.set_data_version(server.version);
  response.set_next_learning_rate(server.next_learning_rate);
  if (!waits) response.mutable_report()->set_contributors(1);
  return absl::OkStatus();
}

// Elements [begin, begin + count) of a point, fewer at the end.
inline v1::Section SectionOf(const FakeServer& server, v1::Point point, v1::Dtype dtype,
                             size_t begin, size_t count) {
  const auto all = absl::MakeConstSpan(server.parameters).subspan(begin, count);
  std::vector<float> values(all.begin(), all.end());
  const bool lookahead = point == v1::POINT_LOOKAHEAD;
  for (float& value : values) value += lookahead ? server.next_learning_rate : 0;
  v1::Section section;
  section.set_kind(lookahead ? v1::SECTION_KIND_LOOKAHEAD : v1::SECTION_KIND_PARAMETERS);
  section.set_dtype(dtype);
  section.set_begin_element(begin);
  section.mutable_data()->resize(values.size() * DtypeBytes(dtype));
  EncodeFloats(dtype, values, section.mutable_data()->data());
  return section;
}

// A stream as the server answers it. What was written is gone at once; frames wait until they are
// taken, and a written frame is told before them, so that both directions overlap.
class FakeStepStream final : public StepStream {
 public:
  explicit FakeStepStream(std::shared_ptr<FakeServer> server) : server_(std::move(server)) {
    const std::lock_guard<std::mutex> lock(server_->mutex);
    Trace("open");
  }

  void Write(const v1::StreamStepRequest& frame) override {
    const std::lock_guard<std::mutex> lock(server_->mutex);
    written_ = true;
    if (ended_) return;
    if (frame.has_header()) {
      header_ = frame.header();
      server_->stream_headers.push_back(header_);
      Trace("header ", header_.header().sequence());
      gradient_.clear();
      num_looks_ = 0;
      fault_ = StreamFault::kNone;
      if (!server_->stream_faults.empty()) {
        fault_ = server_->stream_faults.front();
        server_->stream_faults.pop_front();
      }
      if (fault_ == StreamFault::kBeforeGrant) return Break();
      if (!granted_) SendGrant();
    } else {
      Trace("commit ", header_.header().sequence());
      if (fault_ == StreamFault::kLoseCommit) return Break();
      Answer();
    }
  }

  void WriteChunk(const ChunkHead& head, absl::FunctionRef<void(char* bytes)> fill) override {
    std::vector<char> bytes(head.num_bytes);
    fill(bytes.data());
    const std::lock_guard<std::mutex> lock(server_->mutex);
    written_ = true;
    if (ended_) return;
    Trace("chunk ", header_.header().sequence());
    server_->chunk_kinds.push_back(head.kind);
    if (!granted_ || head.begin_element != gradient_.size() ||
        head.checksum != header_.reply().checksums()) {
      return End(ServerError(absl::StatusCode::kInvalidArgument, "CHUNK_MISPLACED"));
    }
    if (fault_ == StreamFault::kCorruptChunk) {
      return End(ServerError(absl::StatusCode::kDataLoss, "CHUNK_CORRUPT"));
    }
    gradient_.resize(gradient_.size() + head.num_bytes / DtypeBytes(head.dtype));
    DecodeFloats(head.dtype, bytes.data(), absl::MakeSpan(gradient_).subspan(head.begin_element));
    if (fault_ == StreamFault::kMidChunks) Break();
  }

  StreamEvent Next(absl::Duration) override {
    const std::lock_guard<std::mutex> lock(server_->mutex);
    if (written_ && !ended_) {
      written_ = false;
      return {StreamEvent::Kind::kWritten, {}};
    }
    if (!frames_.empty()) {
      frame_ = frames_.front();
      frames_.pop_front();
      Trace(frame_.has_grant() ? "grant" : frame_.has_chunk() ? "data" : "trailer");
      data_.clear();
      if (frame_.has_chunk())
        data_.swap(*frame_.mutable_chunk()->mutable_section()->mutable_data());
      return {StreamEvent::Kind::kFrame, {}};
    }
    if (ended_) return {StreamEvent::Kind::kEnded, end_};
    if (waits_ && fault_ == StreamFault::kMidWait && ++num_looks_ == 20) Break();
    if (waits_ && !ended_ && !server_->StaysSilent([&] { server_->CloseRound(); })) Answer();
    return {StreamEvent::Kind::kTimeout, {}};
  }

  const v1::StreamStepResponse& frame() const override { return frame_; }
  size_t data_size() const override { return data_.size(); }
  void CopyData(char* bytes) const override { data_.copy(bytes, data_.size()); }

 private:
  void Trace(absl::string_view what, uint64_t sequence = 0) {
    server_->stream_trace.push_back(std::string(what) +
                                    (sequence != 0 ? std::to_string(sequence) : ""));
  }
  void End(const absl::Status& status) {
    ended_ = true;
    end_ = status;
  }
  void Break() { End(absl::UnavailableError("the stream broke")); }

  void SendGrant() {
    granted_ = true;
    frames_.emplace_back().mutable_grant()->set_num_elements(server_->parameters.size());
  }

  void Answer() {
    v1::Trailer trailer;
    if (gradient_.size() != server_->parameters.size()) {
      return End(ServerError(absl::StatusCode::kInvalidArgument, "SECTION_SIZE_MISMATCH"));
    }
    const absl::Status judged =
        Judge(*server_, header_.header(), gradient_, *trailer.mutable_response());
    if (!judged.ok()) return End(judged);
    if (fault_ == StreamFault::kBeforeData) return Break();
    const bool pending = trailer.response().verdict() == v1::VERDICT_PENDING;
    if (waits_ && !pending) trailer.mutable_response()->set_replayed(false);
    waits_ = pending && !header_.reply().return_pending() && !server_->answers_pending;
    if (waits_) return;
    if (fault_ == StreamFault::kHang) return;
    SendGrant();
    const v1::ReplyOptions& reply = header_.reply();
    const bool lookahead = reply.data() == v1::REPLY_DATA_LOOKAHEAD;
    uint32_t sum = 0;
    const size_t count = size_t{262144} * 4 / DtypeBytes(reply.dtype());
    for (size_t begin = 0;
         reply.data() != v1::REPLY_DATA_NONE && begin < server_->parameters.size();
         begin += count) {
      v1::Chunk& chunk = *frames_.emplace_back().mutable_chunk();
      *chunk.mutable_section() =
          SectionOf(*server_, lookahead ? v1::POINT_LOOKAHEAD : v1::POINT_PARAMETERS, reply.dtype(),
                    begin, count);
      std::string& data = *chunk.mutable_section()->mutable_data();
      sum = core::Crc32c(data, sum);
      if (reply.checksums()) chunk.set_crc32c(core::Crc32c(data));
      if (fault_ == StreamFault::kCorruptData && begin == count) data.front() ^= 1;
      if (fault_ == StreamFault::kMidData) return Break();
    }
    if (fault_ == StreamFault::kBeforeTrailer) return Break();
    if (reply.checksums()) {
      trailer.set_data_crc32c(fault_ == StreamFault::kCorruptSum ? ~sum : sum);
    }
    *frames_.emplace_back().mutable_trailer() = trailer;
  }

  const std::shared_ptr<FakeServer> server_;
  v1::StreamHeader header_;
  std::vector<float> gradient_;
  StreamFault fault_ = StreamFault::kNone;
  bool granted_ = false;
  bool waits_ = false;  // the contribution, for others
  int num_looks_ = 0;   // at it meanwhile
  bool written_ = false;
  bool ended_ = false;
  absl::Status end_;
  std::deque<v1::StreamStepResponse> frames_;  // on their way to the client
  v1::StreamStepResponse frame_;
  std::string data_;
};

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
      server_->joins.push_back(request);
      server_->joined = true;
      response.set_replies_wait(server_->replies_wait);
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
  absl::Status WaitForStep(const v1::StepRequest& request, v1::StepResponse& response, Idle idle,
                           absl::Duration) override {
    const absl::Status go_on = idle();
    return go_on.ok() ? Call(request, response, absl::InfiniteDuration()) : go_on;
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
      const v1::Section& section = request.sections(0);
      DecodeFloats(section.dtype(), section.data().data(), absl::MakeSpan(gradient));
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
  std::unique_ptr<StepStream> OpenStepStream() override {
    return std::make_unique<FakeStepStream>(server_);
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
