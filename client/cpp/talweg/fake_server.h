// SPDX-License-Identifier: Apache-2.0
//
// For tests: a server of one session in memory. A step adds the gradient to the parameters, so that
// a step that is taken twice is seen. FakeTransport and FakeStepStream reach it.
#pragma once

#include <deque>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/cpp/talweg/dtype.h"
#include "client/cpp/talweg/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "talweg/v1/session_service.pb.h"
#include "talweg/v1/training_service.pb.h"

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
  kLoseRequest,  // UNAVAILABLE; the server never saw the call
  kLoseReply,    // UNAVAILABLE; the server did what was asked
  kLateReply,    // DEADLINE_EXCEEDED; the server did what was asked
};

// What happens to the next contribution that comes over a stream: at which point the stream breaks,
// if it does.
enum class StreamFault {
  kNone,
  kBeforeGrant,
  kMidChunks,      // behind the first chunk
  kLoseCommit,     // the server never saw the commit
  kBeforeData,     // the step was taken
  kMidData,        // behind the first data frame, which the caller has
  kBeforeTrailer,  // behind the last data frame
  kHang,           // the step was taken; nothing comes, nothing breaks
  kMidWait,        // after a contribution that waits for others was looked at twenty times
  kCorruptChunk,   // the server refuses the chunk
  kCorruptData,    // the second data frame does not fit its checksum
  kCorruptSum,     // all data frames together do not fit their checksum
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
  v1::Session session;  // what GetSession answers; empty: there is no such session
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
  std::vector<v1::StepRecord> records;           // what a watch tells, one per message
  std::vector<v1::WatchSessionRequest> watches;  // every Watch that came
  std::deque<absl::Status> watch_ends;           // how the next watches end; none: OK
  size_t end_watch_after = 0;                    // records of each watch until its end; 0: all
  // A fleet: while the round is open, a contribution waits for others. Each look or attempt of a
  // call that waits is one silence. After `num_silences` of them the others come, and the round
  // closes. A pull that waits for a version waits for the next version.
  bool replies_wait = false;
  bool round_open = false;
  bool will_not_count = false;   // a contribution that is pending is told so
  bool answers_pending = false;  // a call that would wait is told at once: pending
  int num_silences = 0;
  uint64_t abstained = 0;                     // the sequence of the last abstention
  std::optional<std::vector<float>> pending;  // the gradient that waits in the round
  std::vector<v1::JoinRequest> joins;         // every Join that came
  std::vector<v1::SectionKind> chunk_kinds;   // of every chunk that came
  std::vector<v1::VersionRecord> made;        // what ListVersionRecords tells, two on a page
  std::vector<v1::ListVersionRecordsRequest> record_requests;
  std::vector<v1::CreateSessionRequest> uploads;  // the create of every stream of an upload
  std::vector<uint64_t> upload_grants;            // the elements that the grants named
  std::vector<float> uploaded;                    // what has arrived
  // After how many frames each stream of an upload breaks off; none: it does not. A stream breaks
  // with `upload_end`; behind its last frame the answer is lost.
  std::vector<size_t> upload_frames;
  absl::Status upload_end = absl::UnavailableError("the stream broke");
  int num_connections = 0;  // transports that were made
  std::set<int> heartbeat_connections;
  std::set<int> step_connections;
  int num_heartbeats = 0;
  int num_lost_heartbeats = 0;      // of the next ones
  bool comes_back_at_once = false;  // a lost connection stands again as soon as somebody rests
  int num_rests = 0;
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
  // Whether a call that waits has to wait on. When it has waited long enough, `end` is run.
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

// What became of a contribution: the step, the remembered answer, or VERDICT_PENDING while it
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
    if (header.abstain()) {
      server.abstained = header.sequence();
    } else if (server.round_open) {
      server.pending.emplace(gradient.begin(), gradient.end());
    } else {
      server.Apply(gradient);
    }
  }
  const bool waits = server.pending.has_value();
  response.set_history(server.history);
  const bool abstained = server.abstained == header.sequence();
  response.set_verdict(waits       ? v1::VERDICT_PENDING
                       : abstained ? v1::VERDICT_ABSTAINED
                                   : v1::VERDICT_APPLIED);
  response.set_replayed(replayed);
  response.set_will_not_count(waits && server.will_not_count);
  response.set_applied_version(waits ? server.version + 1 : server.last_version);
  response.set_data_version(server.version);
  response.set_next_learning_rate(server.next_learning_rate);
  if (!waits && !abstained) response.mutable_report()->set_contributors(1);
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

}  // namespace talweg
