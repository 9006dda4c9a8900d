// SPDX-License-Identifier: Apache-2.0
//
// A worker of a session: gradients out, the next point in, each contribution exactly once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/status.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg {

class Transport;
struct ClientOptions;

// What became of a contribution.
struct StepResult {
  v1::Verdict verdict = v1::VERDICT_UNSPECIFIED;
  bool replayed = false;         // the remembered answer of an attempt whose reply was lost
  uint64_t applied_version = 0;  // version made; where not applied, the one it was judged at
  uint64_t data_version = 0;     // version of the parameters that came back
  std::optional<v1::StepReport> report;  // set where the verdict is APPLIED
  int num_attempts = 1;                  // calls made for this answer

  bool applied() const { return verdict == v1::VERDICT_APPLIED; }
};

// Made by Client::Join(). Heartbeats of its own keep the lease from a background thread. Sequence
// numbers are the library's business: calls that are lost are retried under the same sequence, so
// no contribution is ever applied twice.
//
// Errors keep the server's reason (status.h). Two of them end this worker's story:
//   HISTORY_CHANGED     the session lost or changed its past: call Reattach(), pull, go on
//   INCARNATION_FENCED  another process has this worker's name: final, stop
//
// Movable. Thread-compatible: one thread at a time. Destroying it without Leave() stops the
// heartbeats and lets the lease run out.
class Session {
 public:
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // Contributes `gradient` ([num_elements], taken at version()) and waits for the step. The new
  // parameters go to `parameters` ([num_elements], may overlap nothing, or empty: none are sent and
  // version() stays). `losses`: at most 16, the first at version(). A refused contribution is not
  // an error: see the verdict.
  //
  // Fails with UNAVAILABLE or DEADLINE_EXCEEDED where no answer came within the overall timeout:
  // the contribution may have been applied, and ResumeStep() finds out; or with the server's error,
  // which changed nothing.
  absl::StatusOr<StepResult> Step(absl::Span<const float> gradient, absl::Span<float> parameters,
                                  absl::Span<const double> losses = {});

  // Sends the last contribution again, under its own sequence, after a Step or ResumeStep that got
  // no answer; FAILED_PRECONDITION where there is none such.
  absl::StatusOr<StepResult> ResumeStep(absl::Span<float> parameters);

  // Fills `parameters` ([num_elements]) with the current version and returns it. Large pulls go on
  // where a broken stream ended.
  absl::StatusOr<uint64_t> Pull(absl::Span<float> parameters);

  // Joins anew after HISTORY_CHANGED and returns the version to go on from: pull before the next
  // step. Refused with INCARNATION_FENCED once this worker was fenced.
  absl::StatusOr<uint64_t> Reattach();

  // Takes the worker off the session and stops the heartbeats. A second Leave does nothing.
  absl::Status Leave();

  const std::string& session_id() const;
  const std::string& worker() const;
  uint64_t history() const;      // history of every version below
  uint64_t version() const;      // of the parameters that came last; before that, at the join
  uint64_t incarnation() const;  // this process among all that had the worker's name

 private:
  friend class Client;
  struct State;
  static absl::StatusOr<Session> Join(std::shared_ptr<Transport> transport,
                                      const ClientOptions& options, absl::string_view session_id,
                                      absl::string_view worker);
  explicit Session(std::unique_ptr<State> state);
  absl::StatusOr<StepResult> Send(absl::Span<float> parameters);
  absl::Status JoinAnew();
  void Note(const absl::Status& status);

  std::unique_ptr<State> state_;
};

}  // namespace talweg
