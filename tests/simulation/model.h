// SPDX-License-Identifier: Apache-2.0
//
// What the specification (core/rounds/round_machine.h) says must follow from each event, written
// down a second time: workers in a plain vector, rules one after the other, and no more cleverness
// than a hundred thousand workers need. It shares no code with the machine.
//
// Time is judged when the specification judges it: leases and deadlines end at ticks only, because
// queued input comes before timers. A tick must be asked for no later than the first of them ends.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/rounds/event.h"
#include "tests/simulation/messages.h"
#include "tests/simulation/session_of_world.h"

namespace talweg::simulation {

// What must follow from an event. Reports are checked against the records instead.
struct Expected {
  struct Release {
    uint64_t ticket = 0;
    std::string error;
    core::Answer answer;
  };
  std::string error;  // reason
  std::optional<core::Answer> answer;
  uint64_t incarnation = 0;  // that a joiner is told
  bool waits = false;
  bool will_not_count = false;  // while it waits
  bool repeats = false;         // Its sequence came before.
  bool ahead = false;    // Its worker is too far ahead of the slowest to be answered or counted.
  bool counted = false;  // Its gradient is part of the open round.
  float weight = 1;
  bool step = false;  // The round closes.
  std::vector<Release> released;
};

// A contribution that is part of a round.
struct Counted {
  Key key;
  Payload payload;
  float weight = 1;
  Nanoseconds time = 0;
  uint32_t digest = 0;
};

class Model {
 public:
  static constexpr Nanoseconds kNever = std::numeric_limits<Nanoseconds>::max();

  // What is saved of a state, so that it may come back.
  struct Saved;

  explicit Model(const WorldConfig& world);

  void Create(uint64_t history, const Settings& settings, Nanoseconds now);
  Saved Save() const;
  void Restore(const Saved& saved, uint64_t history, const Settings& settings, Nanoseconds now);

  // If `now` goes back it counts as the latest time that was seen.
  Expected Handle(const core::Event& event, const Payload& payload, Nanoseconds now);

  uint64_t history() const { return history_; }
  uint64_t version() const { return version_; }
  const Settings& settings() const { return settings_; }  // in force
  // Of the configuration that the open round's closing rule came from.
  uint64_t close_config_version() const { return closing_.config_version; }
  Nanoseconds now() const { return now_; }
  size_t num_waiting() const { return tickets_.size(); }
  size_t num_workers() const { return num_joined_; }
  size_t num_live() const { return num_live_; }
  size_t num_folded() const { return step_open_ ? 0 : counted_.size(); }
  bool synchronous() const { return settings_.policy.synchronous(); }
  bool bounded() const { return settings_.policy.mode == core::AggregationMode::kBoundedStaleness; }
  // The contributions of the round that is open, or whose step is being taken.
  const std::vector<Counted>& counted() const { return counted_; }
  // The abstentions since the version before, and their workers.
  uint32_t num_abstained() const { return num_abstained_; }
  const std::set<std::string>& abstained() const { return abstained_; }
  // Workers that are still expected in it, or were when it closed.
  uint64_t num_outstanding() const { return num_outstanding_; }
  bool WasExpected(uint32_t worker) const { return members_[worker].expected_at_open; }
  // Whether the round closes by its rule.
  bool IsDue() const;
  // When a tick must come at the latest.
  Nanoseconds NextDue();
  // The worker whose call waits under this ticket.
  std::optional<uint32_t> WorkerOfTicket(uint64_t ticket) const;
  // By how many verdicts a worker is above the least of those that are counted.
  uint64_t Lead(uint32_t worker) const;

 private:
  struct Call {
    uint64_t ticket = 0;
    bool repeats = false;
    bool may_wait = true;  // for other workers; if not, only for the step
  };
  struct Final {
    uint64_t sequence = 0;
    uint32_t digest = 0;
    core::Verdict verdict = core::Verdict::kApplied;
    uint64_t version = 0;
  };
  struct Pending {
    uint64_t sequence = 0;
    uint32_t digest = 0;
    bool bystander = false;
    bool abstains = false;
  };
  struct Member {
    bool joined = false;
    bool gradient = true;
    bool live = false;
    bool stalled = false;    // It lives, but made no progress, so no round expects it.
    bool in_clocks = false;  // Others wait for it.
    bool held = false;       // Its final answer waits for others.
    bool expected_at_open = false;
    uint64_t incarnation = 0;
    uint64_t nonce = 0;
    uint64_t nonce_before = 0;  // the last one of the name that another incarnation had
    uint64_t expected_in = 0;   // number of the round that still expects it
    uint64_t outdated_in = 0;   // number of the last round in which it was refused for its age
    uint64_t contributed = 0;   // number of the last round that it is part of
    uint64_t clock = 0;
    Nanoseconds lease_end = 0;
    Nanoseconds progress_from = 0;
    Nanoseconds alarm = kNever;
    Final final;
    Pending pending;
    std::vector<Call> calls;
  };

 public:
  struct Saved {
    uint64_t history = 0;
    uint64_t version = 0;
    uint64_t highest_clock = 0;
    std::vector<std::pair<uint32_t, Member>> members;
  };

 private:
  Expected On(const core::Join& join);
  Expected On(const core::Heartbeat& heartbeat);
  Expected On(const core::Leave& leave);
  Expected On(const core::Contribution& contribution);
  Expected On(const core::CallEnded& ended);
  Expected On(const core::Tick& tick);
  Expected On(const core::StepTaken& taken);
  Expected On(const core::Configure& configure);
  Expected On(const core::InversesReady&) { return {}; }

  // Members (model_members.cc).
  std::string Identify(uint64_t history, uint32_t worker, uint64_t incarnation);
  void Revive(uint32_t worker);
  void Kill(uint32_t worker);
  bool MakeRoom();
  void Remove(uint32_t worker);
  Nanoseconds Lease() const;
  Nanoseconds Due(const Member& member) const;
  void SetAlarm(uint32_t worker);
  bool Expects(const Member& member) const;
  void EndExpectation(uint32_t worker);
  void Enter(uint32_t worker);  // the clocks
  void LeaveClocks(uint32_t worker);
  void Advance(uint32_t worker);
  bool IsAhead(const Member& member) const;
  void Hold(uint32_t worker);
  void Unhold(uint32_t worker);
  void LetGo(Expected& expected);
  uint64_t LeastClock() const;
  // The worker contributes again.
  void Resume(uint32_t worker);
  // The worker's answer is held, and its calls that may not wait are told so.
  void EndImpatientCalls(uint32_t worker, Expected& expected);
  void Wait(uint32_t worker, const core::Contribution& contribution, bool repeats,
            Expected& expected);
  void EndCalls(uint32_t worker, const std::string& error, Expected& expected);
  void AnswerCalls(uint32_t worker, const core::Answer& answer, Expected& expected);

  // Rounds (model.cc).
  core::Answer FinalAnswer(const Member& member, bool replayed) const;
  core::Answer PendingAnswer(const Member& member, bool replayed) const;
  core::Answer HeldAnswer(const Member& member, bool replayed) const;
  void TellFinal(uint32_t worker, const core::Contribution& contribution, bool replayed,
                 Expected& expected);
  // The contribution has no final verdict yet: its call waits, or is told so.
  void TellPending(uint32_t worker, const core::Contribution& contribution, bool replayed,
                   Expected& expected);
  void Refuse(uint32_t worker, const core::Contribution& contribution, core::Verdict verdict,
              Expected& expected);
  // The contribution is part of the open round.
  void Count(uint32_t worker, const core::Contribution& contribution, uint64_t staleness,
             Expected& expected);
  // The worker has no gradient for the round.
  void Abstain(uint32_t worker, const core::Contribution& contribution, Expected& expected);
  // Whether the round ends without a version.
  bool Dissolves() const;
  // Whether nobody is expected, so that the workers that abstain are told so.
  bool AbstainersMayGo() const;
  void LetAbstainersGo(Expected& expected);
  // A contribution that waits for the close gets this verdict.
  void End(uint32_t worker, core::Verdict verdict, Expected& expected);
  void BeginNextRound();
  bool MayFreeze() const;
  bool IsFull() const;  // Contributions are staged, and no place is left.
  void FreezeIfDue();
  // The closing rule changes while the round is open.
  void ChangeClosingRule(const Settings& settings);
  // Every event ends with this: the round closes if it is due, or held answers are let go.
  void Settle(Expected& expected);

  const WorldConfig& world_;
  uint64_t history_ = 0;
  uint64_t version_ = 0;
  Settings settings_;
  std::optional<Settings> next_settings_;
  Settings closing_;  // whose policy closes the open round; the rest of it does not matter
  Nanoseconds now_ = 0;
  Payload payload_;  // of the event

  std::vector<Member> members_;  // by the number of the worker
  size_t num_joined_ = 0;
  size_t num_live_ = 0;
  size_t num_live_gradient_ = 0;
  absl::flat_hash_map<uint64_t, uint32_t> tickets_;  // tickets that wait, and their workers
  std::map<uint64_t, uint32_t> clocks_;              // by clock, how many workers stand there
  uint64_t highest_clock_ = 0;                       // the highest there ever was
  std::set<std::pair<uint64_t, uint32_t>> held_;
  std::priority_queue<std::pair<Nanoseconds, uint32_t>,
                      std::vector<std::pair<Nanoseconds, uint32_t>>, std::greater<>>
      alarms_;

  uint64_t round_ = 1;  // number
  bool frozen_ = false;
  Nanoseconds frozen_at_ = 0;
  uint64_t num_outstanding_ = 0;
  std::vector<Counted> counted_;
  std::vector<uint32_t> bystanders_;
  std::vector<std::pair<uint32_t, uint64_t>> abstainers_;  // workers and incarnations
  uint32_t num_abstained_ = 0;
  std::set<std::string> abstained_;
  bool asked_to_close_ = false;
  bool step_open_ = false;
};

}  // namespace talweg::simulation
