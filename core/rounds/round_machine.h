// SPDX-License-Identifier: Apache-2.0
//
// Exactly-once and rounds for one session: who may contribute, what was contributed already, who is
// waited for, and when the next version is made. A state machine that is handed time with each
// event and touches no arrays.
//
// Identity. A message of another history is HISTORY_CHANGED. A worker must join; a newer
// incarnation fences the older ones; an incarnation never issued, or one that left, is
// WORKER_NOT_JOINED.
//
// Sequences increase within an incarnation; gaps are allowed. The last one that got a verdict is
// kept with its answer: a repeat gets it again (`replayed`), with another payload it is
// SEQUENCE_REUSED; a smaller one is SEQUENCE_TOO_OLD. A pending one is kept likewise, and a repeat
// waits with it. Every verdict consumes its sequence; errors consume none and change nothing. Saved
// state has no pending entries: they are no acknowledgement.
//
// Verdicts. A base version newer than the session is VERSION_AHEAD. One older by more than
// max_staleness is kTooStale, where that is 0 kRoundClosed. A gradient that is not finite is
// kRejectedNonFinite. Else it is part of the open round.
//
// Rounds. kAsynchronous: a round closes with contribution number gradient_accumulation_steps, and
// those before it are kPending at once. kBoundedStaleness: every contribution closes one.
// kSynchronous: a round opens with its first contribution (before version 1: not before min_workers
// are live), and freezes who is expected: the live gradient workers of that moment. Expiry,
// leaving, fencing, a gradient that is not finite, a second one that is too old, and
// progress_seconds without a verdict end an expectation, never what was folded. Who made no
// progress is expected in no round before it contributes again. It closes by its rule, once and
// with at least one contribution. Each worker counts once a round, whatever its incarnation: a
// second contribution waits for the close and is kRoundClosed. A round has places for kMaxWorkers
// contributions, for max_workers where they are staged: who comes when they are taken waits
// likewise, and a round that waits for weight closes.
//
// Clocks (kBoundedStaleness). A worker's clock counts its verdicts; it starts at the least clock of
// the live gradient workers (where there are none, at the greatest there was), and every verdict of
// whatever kind advances it. A worker whose clock is more than max_rounds_ahead above the least
// gets its answer when that has come up. One that sends another contribution before that is not
// counted, but waits with it and is kRoundClosed. A worker that got no verdict for progress_seconds
// is not among the least until it contributes again, and then starts at the least clock.
//
// Leases. Any message of a live incarnation renews its lease, and a call that waits keeps it. An
// expired worker is no longer expected, but not fenced: it may go on. Where the table is full a new
// worker takes the place of one that expired, the one silent for longest first. Who left takes no
// place.
//
// Configure takes effect with the next version: at once where no round is open, and so also where
// contributions wait for min_workers. What follows from it a tick does, which is due at once.
//
// Cost of an event: O(log n) in the number of workers, and what it releases; opening a round is
// O(1), closing one that some were late for O(n), and so is a join where the table is full.
// Thread-compatible. Between an Effects with a step and StepTaken no contribution, tick or
// configuration may come.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/byte_io.h"
#include "core/rounds/event.h"
#include "core/rounds/mutation.h"
#include "core/schedules/schedule.h"

namespace talweg::core {

// HISTORY_CHANGED, with history and version to go on from, unless `history` is the current one.
absl::Status CheckHistory(uint64_t history, uint64_t current, uint64_t version);

class RoundMachine {
 public:
  // At version 0. `history` is random and not 0.
  RoundMachine(uint64_t history, const Configure& configuration);
  ~RoundMachine();
  RoundMachine(RoundMachine&&) noexcept;

  // `now` never goes back; an earlier one counts as the latest that was seen.
  Effects Handle(const Event& event, absl::Time now);

  // When a Tick should come at the latest; InfiniteFuture where nothing is due.
  absl::Time NextTick() const;

  // As the function of this name, against this session.
  absl::Status CheckHistory(uint64_t history) const;

  uint64_t history() const;
  uint64_t version() const;
  // In force: those of the version that is made next.
  const Schedule& schedule() const;
  const AggregationConfig& aggregation() const;
  uint64_t config_version() const;  // of the configuration in force
  // Contributions folded so far into the next version.
  uint32_t num_folded() const;
  // Calls that wait.
  size_t num_waiting() const;
  size_t num_workers() const;
  size_t num_live_workers() const;  // as of the last event
  const std::shared_ptr<const StepReport>& last_step() const;

  // The whole state but schedule and policy, which the session's config holds, without what is
  // pending: an open round, and who waits. Leases are not saved: after a restore each starts anew.
  void Save(ByteWriter& writer) const;
  // Replaces the state of a machine that was made with the same configuration. `history` 0
  // keeps the saved one; another begins there where steps, verdicts or joins may have been lost.
  absl::Status Load(ByteReader& reader, absl::Time now, uint64_t history = 0);

  // Tests only: a deliberate bug; and INTERNAL where a counter is not what a recount says, where a
  // call waits for nothing, or where nobody is told of what is due. O(n).
  void SwitchOn(Mutation mutation);
  absl::Status Audit() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace talweg::core
