// SPDX-License-Identifier: Apache-2.0
//
// A fleet in virtual time, for the tests of this room: a RoundMachine, the workers' counters, and
// the calls that wait. After each event it checks that the machine still adds up, and that every
// call is answered once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "core/base/byte_io.h"
#include "core/base/reasons.h"
#include "core/rounds/round_machine.h"
#include "core/schedules/schedule.h"
#include "gtest/gtest.h"

namespace talweg::core {

inline constexpr uint64_t kHistory = 77;

// eta_t = learning_rate / sqrt(t): tells the numbers of steps apart.
inline Schedule RateOf(double learning_rate) {
  RateConfig rate;
  rate.learning_rate = learning_rate;
  const DecayKind& kind = *FindDecayKind("inverse_sqrt");
  return Schedule(ConfigOf<RateConfig>(rate), kind, kind.default_config());
}

inline AggregationConfig Synchronous(CloseRule close = CloseRule::kAll) {
  AggregationConfig aggregation;
  aggregation.mode = AggregationMode::kSynchronous;
  aggregation.close = close;
  return aggregation;
}

inline AggregationConfig Count(uint64_t count, TooFew too_few = TooFew::kWait) {
  AggregationConfig aggregation = Synchronous(CloseRule::kCount);
  aggregation.close_count = count;
  aggregation.too_few = too_few;
  return aggregation;
}

inline AggregationConfig Weight(double weight, TooFew too_few = TooFew::kWait) {
  AggregationConfig aggregation = Synchronous(CloseRule::kWeight);
  aggregation.close_weight = weight;
  aggregation.too_few = too_few;
  return aggregation;
}

inline AggregationConfig Deadline(double seconds) {
  AggregationConfig aggregation = Synchronous(CloseRule::kDeadline);
  aggregation.close_seconds = seconds;
  return aggregation;
}

inline AggregationConfig BoundedStaleness(uint64_t max_rounds_ahead) {
  AggregationConfig aggregation;
  aggregation.mode = AggregationMode::kBoundedStaleness;
  aggregation.max_rounds_ahead = max_rounds_ahead;
  return aggregation;
}

inline AggregationConfig Accumulating(uint64_t steps) {
  AggregationConfig aggregation;
  aggregation.gradient_accumulation_steps = steps;
  return aggregation;
}

class Fleet {
 public:
  explicit Fleet(const AggregationConfig& aggregation)
      : machine(kHistory, {RateOf(0.5), aggregation}) {}

  // --- What happens.

  // Hands in an event. If it orders a step the step is taken at once, unless `hold_steps` is set.
  Effects Do(const Event& event) {
    Effects effects = machine.Handle(event, now);
    Follow(effects);
    return effects;
  }

  Effects TakeStep() {
    EXPECT_TRUE(step_is_open_);
    step_is_open_ = false;
    const uint64_t version = machine.version();
    Effects effects = machine.Handle(StepTaken{3, 0.5, 0.125}, now);
    EXPECT_TRUE(effects.status.ok() && !effects.step.has_value() && !effects.fold);
    EXPECT_EQ(machine.version(), version + 1);
    Collect(effects);
    EXPECT_NE(effects.made, nullptr);
    made.push_back(effects.made);
    Check();
    return effects;
  }

  absl::Status Join(const std::string& worker, bool gradient = true) {
    const absl::Status status =
        Do(talweg::core::Join{worker, last_incarnation + 1,
                              gradient ? talweg::core::Roles{talweg::core::Role::kGradient}
                                       : talweg::core::Roles{talweg::core::Role::kStatistics}})
            .status;
    if (!status.ok()) return status;
    counters_[worker] = {++last_incarnation, 0};
    return status;
  }

  void JoinAll(const std::vector<std::string>& workers) {
    for (const std::string& worker : workers) EXPECT_TRUE(Join(worker).ok());
  }

  absl::Status Heartbeat(const std::string& worker) {
    return Do(talweg::core::Heartbeat{kHistory, worker, counters_[worker].incarnation}).status;
  }

  absl::Status Leave(const std::string& worker) {
    return Do(talweg::core::Leave{kHistory, worker, counters_[worker].incarnation}).status;
  }

  // The worker's next contribution, taken at the current version.
  Contribution Gradient(const std::string& worker) {
    Counters& counters = counters_[worker];
    Contribution contribution;
    contribution.history = kHistory;
    contribution.worker = worker;
    contribution.incarnation = counters.incarnation;
    contribution.sequence = ++counters.sequence;
    contribution.base_version = machine.version();
    contribution.finite = true;
    contribution.digest = static_cast<uint32_t>(counters.incarnation * 1000 + counters.sequence);
    return contribution;
  }

  // Hands in a contribution as a new call, whose ticket it returns.
  uint64_t Send(Contribution contribution) {
    const uint64_t ticket = ++last_ticket_;
    contribution.ticket = ticket;
    waiting_.insert(ticket);
    callers_[ticket] = contribution.worker;
    last = machine.Handle(contribution, now);
    EXPECT_EQ(!last.status.ok() + last.answer.has_value() + last.waits, 1)
        << "a call gets an error, an answer or a wait";
    EXPECT_TRUE(last.status.ok() || (!last.fold && !last.step.has_value()));
    if (!last.waits) {
      waiting_.erase(ticket);
      calls_[ticket] = Text(last.status, last.answer.value_or(Answer{}));
      if (last.answer.has_value()) answers[ticket] = *last.answer;
    }
    Follow(last);
    return ticket;
  }
  uint64_t Contribute(const std::string& worker) { return Send(Gradient(worker)); }
  uint64_t Contribute(const std::string& worker, float weight) {
    Contribution contribution = Gradient(worker);
    contribution.weight = weight;
    return Send(contribution);
  }

  // The worker has no gradient for the coming version.
  Contribution Abstention(const std::string& worker) {
    Contribution contribution = Gradient(worker);
    contribution.abstains = true;
    return contribution;
  }
  uint64_t Abstain(const std::string& worker) { return Send(Abstention(worker)); }

  // The connection of a call breaks.
  void Break(uint64_t ticket) {
    EXPECT_EQ(waiting_.erase(ticket), 1u);
    calls_[ticket] = "broken";
    Do(CallEnded{callers_[ticket], ticket});
  }

  // Time passes. Each tick that the machine asks for comes when it is due.
  void Pass(absl::Duration duration) {
    const absl::Time end = now + duration;
    for (int ticks = 0; machine.NextTick() <= end; ++ticks) {
      ASSERT_LT(ticks, 10000) << "ticks without an end";
      now = std::max(now, machine.NextTick());
      Do(Tick{});
    }
    now = end;
  }

  // Time passes in steps of a second, and after each of them `workers` send a heartbeat.
  void PassWithHeartbeatsOf(const std::vector<std::string>& workers, absl::Duration duration) {
    for (const absl::Time end = now + duration; now < end;) {
      Pass(absl::Seconds(1));
      for (const std::string& worker : workers) EXPECT_TRUE(Heartbeat(worker).ok());
    }
  }

  void Configure(const AggregationConfig& aggregation, double learning_rate = 0.5) {
    EXPECT_TRUE(aggregation.Validate().ok()) << aggregation.Validate();
    Do(talweg::core::Configure{RateOf(learning_rate), aggregation, ++config_version_});
  }

  // --- What came of it.

  // What a call was told: "APPLIED 3", "again APPLIED 3", "WORKER_NOT_JOINED"; or "waits",
  // "broken".
  std::string Told(uint64_t ticket) const {
    return waiting_.count(ticket) > 0 ? "waits" : calls_.at(ticket);
  }

  // The workers whose contributions made a version, in the order of arrival: "a b a".
  std::string MembersOf(uint64_t version) const {
    const auto name = [](std::string* out, const RoundMember& member) {
      absl::StrAppend(out, member.worker);
    };
    if (version == 0 || version > made.size()) return "no such version";
    return absl::StrJoin(made[version - 1]->members, " ", name);
  }

  // The record of a version, or the order of its step; blank if there is none.
  VersionRecord RecordOf(uint64_t version) const {
    EXPECT_TRUE(version > 0 && version <= made.size()) << "no version " << version;
    return version > 0 && version <= made.size() ? *made[version - 1] : VersionRecord{};
  }
  StepOrder OrderOf(uint64_t version) const {
    EXPECT_TRUE(version > 0 && version <= orders.size()) << "no step " << version;
    return version > 0 && version <= orders.size() ? orders[version - 1] : StepOrder{};
  }

  std::string Bytes() const {
    ByteWriter writer;
    machine.Save(writer);
    return writer.bytes();
  }

  uint64_t incarnation(const std::string& worker) { return counters_[worker].incarnation; }
  size_t num_waiting() const { return waiting_.size(); }

  // The machine stops and goes on from its saved state, in `history` if that is not 0.
  void Restart(uint64_t history = 0) {
    const std::string bytes = Bytes();
    ByteReader reader(bytes);
    ASSERT_TRUE(machine.Load(reader, now, history).ok());
    ASSERT_TRUE(reader.End().ok());
    for (const uint64_t ticket : waiting_) calls_[ticket] = "broken";
    waiting_.clear();
    Check();
  }

  absl::Time now = absl::UnixEpoch() + absl::Hours(1);
  RoundMachine machine;
  bool hold_steps = false;
  Effects last;  // of the contribution sent last
  std::map<uint64_t, Answer> answers;
  std::vector<StepOrder> orders;
  std::vector<std::shared_ptr<const VersionRecord>> made;
  uint64_t last_incarnation = 0;

 private:
  struct Counters {
    uint64_t incarnation = 0;
    uint64_t sequence = 0;
  };

  static std::string Text(const absl::Status& status, const Answer& answer) {
    if (!status.ok()) return ReasonName(status);
    static constexpr const char* kNames[] = {"APPLIED",      "TOO_STALE", "REJECTED_NON_FINITE",
                                             "ROUND_CLOSED", "ABSTAINED", "PENDING"};
    EXPECT_EQ(answer.report != nullptr, answer.verdict == Verdict::kApplied);
    return absl::StrCat(answer.replayed ? "again " : "",
                        kNames[static_cast<size_t>(answer.verdict)], " ", answer.applied_version);
  }

  void Collect(const Effects& effects) {
    for (const Released& released : effects.released) {
      EXPECT_EQ(waiting_.erase(released.ticket), 1u) << "released without waiting";
      calls_[released.ticket] = Text(released.status, released.answer);
      if (released.status.ok()) answers[released.ticket] = released.answer;
    }
  }

  void Follow(const Effects& effects) {
    Collect(effects);
    Check();
    if (!effects.step.has_value()) return;
    EXPECT_FALSE(step_is_open_) << "a step was ordered before the last one was taken";
    orders.push_back(*effects.step);
    step_is_open_ = true;
    if (!hold_steps) TakeStep();
  }

  void Check() {
    EXPECT_EQ(machine.num_waiting(), waiting_.size());
    const absl::Status status = machine.Audit();
    EXPECT_TRUE(status.ok()) << status;
  }

  std::map<std::string, Counters> counters_;
  std::map<uint64_t, std::string> calls_;
  std::map<uint64_t, std::string> callers_;
  std::set<uint64_t> waiting_;
  uint64_t last_ticket_ = 0;
  uint64_t config_version_ = 1;
  bool step_is_open_ = false;
};

}  // namespace talweg::core
