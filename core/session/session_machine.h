// SPDX-License-Identifier: Apache-2.0
//
// Exactly-once for one session: who may contribute, what was contributed already, which version
// comes next. A state machine that is handed time and touches no arrays.
//
// A round closes with contribution number gradient_accumulation_steps; those before it are pending,
// and folded into the sum of which it takes the mean. Rules:
//   - A message of another history is HISTORY_CHANGED. A worker must join; a newer incarnation
//     fences the older ones; an incarnation never issued, or one that left, is WORKER_NOT_JOINED.
//   - Sequences increase within an incarnation; gaps are allowed. The last one is kept with its
//     answer: a repeat gets it again (`replayed`), with another payload it is SEQUENCE_REUSED; a
//     smaller one is SEQUENCE_TOO_OLD.
//   - A base version newer than the session is VERSION_AHEAD. One that is older by more than
//     max_staleness is kTooStale, where max_staleness is 0 kRoundClosed. A gradient that is not
//     finite is kRejectedNonFinite. Else it is part of the round: pending, or applied where it
//     closes it. A repeat of a pending one is told that it is applied once its round has closed.
//   - Every verdict consumes its sequence; errors consume none and change nothing.
//   - Any message of a live incarnation renews its lease. A lease decides only whether a worker is
//     called live: one that is not may go on. Only where the table is full does a new worker take
//     the place of the one whose lease ended first.
//
// Thread-compatible. Between an Effects with a step and StepTaken, no contribution may come.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/byte_io.h"
#include "core/session/event.h"

namespace talweg::core {

// HISTORY_CHANGED, with history and version to go on from, unless `history` is the current one.
absl::Status CheckHistory(uint64_t history, uint64_t current, uint64_t version);

class SessionMachine {
 public:
  static constexpr size_t kMaxWorkers = 65536;

  // At version 0. `history` is random and not 0.
  SessionMachine(uint64_t history, const Schedule& schedule, const AggregationConfig& aggregation);

  Effects Handle(const Event& event, absl::Time now);

  // As the function of this name, against this session.
  absl::Status CheckHistory(uint64_t history) const;

  uint64_t history() const { return history_; }
  uint64_t version() const { return version_; }
  const Schedule& schedule() const { return schedule_; }
  // Contributions folded so far into the next version.
  uint32_t num_folded() const { return round_.contributors; }
  size_t num_workers() const { return workers_.size(); }
  size_t NumLiveWorkers(absl::Time now) const;
  const std::optional<StepReport>& last_step() const { return last_step_; }

  // The whole state but schedule and policy, which the session's config holds. Leases are not
  // saved: after a restore each starts anew at `now`.
  void Save(ByteWriter& writer) const;
  // Replaces the state of a machine that was made with the same schedule and policy.
  absl::Status Load(ByteReader& reader, absl::Time now);

 private:
  struct Worker {
    uint64_t incarnation = 0;
    absl::Time lease_end;
    uint64_t last_sequence = 0;  // 0: none yet
    uint32_t last_digest = 0;
    Answer last_answer;
  };
  // What the contributions that wait for the next version add up to.
  struct Round {
    uint32_t contributors = 0;
    uint64_t staleness = 0;  // the largest
    uint32_t num_losses = 0;
    double loss_sum = 0;
  };
  // A contribution on its way into the next version.
  struct OpenStep {
    std::string worker;
    Answer answer;
  };

  Effects On(const Join& join, absl::Time now);
  Effects On(const Heartbeat& heartbeat, absl::Time now);
  Effects On(const Leave& leave, absl::Time now);
  Effects On(const Contribution& contribution, absl::Time now);
  Effects On(const StepTaken& taken, absl::Time now);
  Effects On(const Configure& configure, absl::Time now);

  // The worker, with its lease renewed, where history and incarnation are the current ones.
  absl::StatusOr<Worker*> FindWorker(uint64_t history, const std::string& name,
                                     uint64_t incarnation, absl::Time now);
  absl::Time LeaseEnd(absl::Time now) const;
  // Forgets the worker whose lease ended first; false where every lease runs.
  bool ForgetExpiredWorker(absl::Time now);

  uint64_t history_;
  uint64_t version_ = 0;
  Schedule schedule_;
  AggregationConfig aggregation_;
  std::map<std::string, Worker> workers_;  // ordered: a saved state does not depend on hashing
  Round round_;
  std::optional<OpenStep> open_step_;
  std::optional<StepReport> last_step_;
};

}  // namespace talweg::core
