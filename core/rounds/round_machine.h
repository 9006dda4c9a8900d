// SPDX-License-Identifier: Apache-2.0
//
// Exactly-once and rounds for one session: which workers may contribute, what was contributed
// already, which workers are waited for, and when the next version is made. A state machine that is
// handed time with each event and touches no arrays. core/session owns one; tests drive it
// directly.
//
// Identity. A message of another history is HISTORY_CHANGED. A worker must join, and a newer
// incarnation fences the older ones. An incarnation that was never issued, or that left, is
// WORKER_NOT_JOINED.
//
// Sequences increase within an incarnation, and gaps are allowed. The last sequence that got a
// verdict is kept with its answer: a repeat gets the same answer again (`replayed`), a repeat with
// another payload is SEQUENCE_REUSED, and a smaller sequence is SEQUENCE_TOO_OLD. A pending
// sequence is kept likewise, and a repeat of it waits with it. Every verdict consumes its sequence.
// Errors consume none and change nothing. Saved state has no pending entries, because they are no
// acknowledgement.
//
// Verdicts. A base version that is newer than the session is VERSION_AHEAD. A base version that is
// older by more than max_staleness is kTooStale; in the mode kSynchronous it is kRoundClosed if
// max_staleness is 0. A gradient that is not finite is kRejectedNonFinite. Every other contribution
// is part of the open round.
//
// Rounds. kAsynchronous: a round closes with contribution number gradient_accumulation_steps, and
// the contributions before that one are kPending at once. kBoundedStaleness: every contribution
// closes a round. kSynchronous: a round opens with its first contribution; before version 1 it does
// not open before min_workers are live. When it opens, the set of expected workers is frozen: the
// live gradient workers of that moment. Expiry, leaving, fencing, a gradient that is not finite, a
// second gradient that is too old, and progress_seconds without a verdict end an expectation, but
// they never take back what was folded. A worker that made no progress is expected in no round
// before it contributes again. A round closes by its rule, once, and with at least one
// contribution. Each worker counts once in a round, whatever its incarnation: its second
// contribution waits for the close and is kRoundClosed, and until then its answer says
// `will_not_count`. A round has places for kMaxWorkers contributions, or for max_workers if
// contributions are staged. A worker that arrives when all places are taken also waits for the
// close and is kRoundClosed, and a round that waits for weight closes when all places are taken.
//
// Abstentions. A worker that has no gradient may say so, and its verdict is kAbstained. In the mode
// kSynchronous this is the worker's part in the round: the round opens with it as with a
// contribution, expects the worker no longer, counts it for close_count, and answers it at the
// close; its weight is none, and it takes no place. A round of abstentions alone ends when nobody
// else is expected, or when one of them asks for the close; no version is made, and all of them are
// answered at the version that stands. So are they if nobody else is expected and the round goes on
// waiting for more contributions (kWait): then it may need theirs after all, and takes them. In the
// other modes an abstention is answered at once, except if it closes a window (kAsynchronous): then
// it is answered with the version that this makes. The record of a version tells the abstentions
// since the version before, also those of rounds that made none. A change of the policy takes
// effect at once while a round has nothing but abstentions.
//
// Clocks (kBoundedStaleness). A worker's clock counts its verdicts. It starts at the least clock of
// the live gradient workers (if there are none, at the greatest that there ever was), and every
// verdict of whatever kind advances it. A worker whose clock is more than max_rounds_ahead above
// the least gets its answer when the least has come up. If it sends another contribution before
// that, this contribution is not counted: its call waits likewise, and its verdict is kRoundClosed.
// A worker that got no verdict for progress_seconds is not among the least until it contributes
// again, and then starts at the least clock.
//
// Leases. Any message of a live incarnation renews its lease, and a call that waits keeps the
// lease. An expired worker is no longer expected, but it is not fenced: it may go on. If the table
// is full a new worker takes the place of an expired one, and the one that has been silent for
// longest goes first. A worker that left takes no place.
//
// Configure takes effect with the next version. If no round is open it takes effect at once, and so
// it does while contributions wait for min_workers. A closing rule that changes (close,
// close_count, close_weight, close_seconds, too_few, min_workers, progress_seconds) takes effect on
// the open round too, because that cannot drop a contribution, and the version's record tells which
// configuration the rule came from. What follows from it happens in a tick, which is due at once.
//
// Durable (Effects::durable) are a join that succeeded, every final verdict that is no part of a
// version, even if its answer is held, an accepted configuration, and a version that was made.
// Everything else may be forgotten in a crash.
//
// Cost of an event: O(log n) in the number of workers, and what it releases. Opening a round is
// O(1). Closing a round that some workers were late for is O(n), and so are a join while the table
// is full and a change of the configuration. Thread-compatible. Between an Effects with a step and
// StepTaken no contribution, tick or configuration may come.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/byte_io.h"
#include "core/members/answers.h"
#include "core/members/attendance.h"
#include "core/rounds/clocks.h"
#include "core/rounds/closed_round.h"
#include "core/rounds/event.h"
#include "core/rounds/expectations.h"
#include "core/rounds/mutation.h"
#include "core/rounds/open_round.h"
#include "core/rounds/policy_in_force.h"
#include "core/rounds/round_description.h"
#include "core/rounds/statistics.h"
#include "core/rounds/worker.h"
#include "core/rounds/worker_rules.h"
#include "core/schedules/schedule.h"

namespace talweg::core {

class RoundMachine {
 public:
  // At version 0. `history` is random and not 0.
  RoundMachine(uint64_t history, const Configure& configuration);

  // `now` never goes back; an earlier one counts as the latest that was seen.
  Effects Handle(const Event& event, absl::Time now);

  // When a Tick should come at the latest; InfiniteFuture if nothing is due.
  absl::Time NextTick() const;

  // As core::CheckHistory, with the history and the version of this session.
  absl::Status CheckHistory(uint64_t history) const {
    return core::CheckHistory(history, history_, version_);
  }

  uint64_t history() const { return history_; }
  uint64_t version() const { return version_; }
  // In force: those of the version that is made next.
  const Schedule& schedule() const { return policy_.configuration().schedule; }
  const AggregationConfig& aggregation() const { return policy_.aggregation(); }
  uint64_t config_version() const { return policy_.configuration().config_version; }
  // What closes the open round: as aggregation(), except for a closing rule that was changed while
  // it was open.
  const AggregationConfig& closing() const { return policy_.closing(); }
  // What the open round waits for at `now`. None if nobody has contributed to it, and nobody is
  // waited for. O(n).
  std::optional<RoundDescription> DescribeRound(absl::Time now) const;
  // Contributions that have been folded so far into the next version.
  uint32_t num_folded() const { return static_cast<uint32_t>(round_.members.size()); }
  size_t num_waiting() const { return workers_.calls().size(); }  // calls
  size_t num_workers() const { return workers_.num_members(); }
  size_t num_live_workers() const { return workers_.num_live(); }  // as of the last event
  const std::shared_ptr<const StepReport>& last_step() const { return last_step_; }
  // The refusals of this history so far.
  const RefusalCounts& refusals() const { return refusals_; }

  // The format that is written, and read by default. Format 3 knows one role, that of gradients,
  // and nothing of refusals; format 4 has the roles as a byte of their own, and the refusals.
  static constexpr uint32_t kSavedFormat = 4;
  // The whole state except schedule and policy, which the session's config holds, and except what
  // is pending: an open round, and the calls that wait. Leases are not saved: after a restore each
  // starts anew.
  void Save(ByteWriter& writer, uint32_t format = kSavedFormat) const;
  // Replaces the state of a machine that was made with the same configuration. `history` 0
  // keeps the saved one; another begins there if steps, verdicts or joins may have been lost.
  absl::Status Load(ByteReader& reader, absl::Time now, uint64_t history = 0,
                    uint32_t format = kSavedFormat);

  // Tests only. SwitchOn makes a deliberate bug. Audit fails with INTERNAL if a counter is not what
  // a recount says, if a call waits for nothing, or if no tick is asked for what is due. O(n).
  void SwitchOn(Mutation mutation);
  absl::Status Audit() const;

 private:
  friend class RoundAudit;      // audit.cc
  friend class RoundDescriber;  // describe.cc

  void On(const Join& join, Effects& effects);
  void On(const Heartbeat& heartbeat, Effects& effects);
  void On(const Leave& leave, Effects& effects);
  void On(const Contribution& contribution, Effects& effects);
  void On(const CallEnded& ended, Effects& effects);
  void On(const Tick& tick, Effects& effects);
  void On(const StepTaken& taken, Effects& effects);
  void On(const Configure& configure, Effects& effects);
  void On(const InversesReady& ready, Effects& effects);

  // --- Workers that come, live and go (attendance.cc).

  // What rounds do when workers come, live and go, for the event of now.
  WorkerRules Rules() {
    return {expectations_, clocks_, round_, closing(), now_, LeaseEnd(), mutation_};
  }
  absl::Time LeaseEnd() const {
    return now_ + absl::Seconds(static_cast<int64_t>(aggregation().lease_seconds));
  }
  // The worker's index, with its lease renewed, if history and incarnation are the current ones.
  absl::StatusOr<uint32_t> Find(uint64_t history, const std::string& name, uint64_t incarnation);
  // Only a tick opens a round for a worker that comes back: asks for one if the round may open.
  void AskForOpening(uint32_t index);
  void AnswerCalls(Worker& worker, Answer answer, Effects& effects) {
    workers_.calls().AnswerAll(worker, std::move(answer), LeaseEnd(), effects.released);
  }

  // --- Contributions (contributions.cc).

  // A sequence that came before.
  void Repeat(uint32_t index, const Contribution& contribution, Remembered remembered,
              Effects& effects);
  // A sequence that is new.
  void Judge(uint32_t index, const Contribution& contribution, Effects& effects);
  // The verdict is final at once, and no version has the contribution as a part.
  void Settle(uint32_t index, const Contribution& contribution, Verdict verdict, Effects& effects);
  // The contribution is no part of the round, and its worker is told when the round closes.
  void StandBy(uint32_t index, const Contribution& contribution, Effects& effects);
  void Abstain(uint32_t index, const Contribution& contribution, Effects& effects);
  void Accept(uint32_t index, const Contribution& contribution, uint64_t staleness,
              Effects& effects);
  // Answers with the settled verdict, unless the worker is ahead of the others.
  void TellSettled(uint32_t index, const Contribution& contribution, bool replayed,
                   Effects& effects);
  // Adds to the answer of a refused contribution what its worker should change.
  void Advise(const Worker& worker, Answer& answer) const;
  void Wait(Worker& worker, const Contribution& contribution, bool repeats, Effects& effects);

  // --- Statistics (statistics.cc).

  // The statistics of a contribution are part of the next version.
  void AcceptStatistics(const Contribution& contribution, Effects& effects);
  // A new sequence, with statistics alone.
  void JudgeStatistics(uint32_t index, const Contribution& contribution, Effects& effects);
  // Statistics that came alone are part of the version that was made.
  void SettleStatistics(const StatisticsMember& member, uint32_t digest, Effects& effects);

  // --- Versions (round_machine.cc).

  void CloseIfDue(Effects& effects);
  void OrderStep(Effects& effects);
  // A round of abstentions alone ends, and no version is made.
  void Dissolve(Effects& effects);
  // The workers that abstain are answered before a version is made.
  void LetAbstainersGo(Effects& effects);
  // A member's contribution is part of the version that was made.
  void SettleMember(const OpenRound::Place& place, const RoundMember& member, Effects& effects);
  void SettleAbstainer(const OpenRound::Bystander& abstainer, Effects& effects);
  void SettleBystander(const OpenRound::Bystander& bystander, Effects& effects);
  void SettlePending(Worker& worker, Verdict verdict, Effects& effects);
  // A sequence got a final verdict and is part of no version.
  void Conclude(Worker& worker, uint64_t sequence, uint32_t digest, Verdict verdict,
                Effects& effects);
  // Answers the workers whose answers are held no longer.
  void LetGo(Effects& effects);

  uint64_t RoundsAhead() const;  // that a worker may be ahead of the slowest
  size_t num_live_gradient() const { return workers_.num_live(Role::kGradient); }

  uint64_t history_;
  uint64_t version_ = 0;
  PolicyInForce policy_;
  absl::Time now_ = absl::InfinitePast();

  Attendance<Worker> workers_;
  Clocks clocks_;
  Expectations expectations_;
  OpenRound round_;
  OpenStatistics statistics_;
  std::optional<ClosedRound> closed_;  // while its step is taken
  std::shared_ptr<const StepReport> last_step_;
  RefusalCounts refusals_;
  Mutation mutation_ = Mutation::kNone;
};

}  // namespace talweg::core
