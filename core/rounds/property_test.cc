// SPDX-License-Identifier: Apache-2.0
//
// Random fleets: workers come, go, repeat themselves, fall silent and come back, calls break, the
// policy changes, the machine restarts. After each event the machine is audited (rounds_testing.h);
// here stands what must hold of the whole run. tests/simulation goes further, with a network and a
// model of its own.
#include <map>
#include <random>
#include <set>
#include <tuple>

#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

using Random = std::mt19937_64;

AggregationConfig RandomPolicy(Random& random, AggregationMode mode) {
  const auto one_of = [&](uint64_t n) { return random() % n; };
  AggregationConfig policy;
  policy.mode = mode;
  policy.lease_seconds = 5 + one_of(20);
  if (one_of(2) == 0) policy.max_workers = 3 + one_of(4);
  if (mode != AggregationMode::kAsynchronous && one_of(2) == 0) {
    policy.progress_seconds = 1 + static_cast<double>(one_of(10));
  }
  switch (mode) {
    case AggregationMode::kAsynchronous:
      policy.gradient_accumulation_steps = 1 + one_of(3);
      policy.max_staleness = 10;
      break;
    case AggregationMode::kBoundedStaleness:
      policy.max_rounds_ahead = one_of(3);
      break;
    case AggregationMode::kSynchronous:
      policy.max_staleness = one_of(3);
      policy.min_workers = 1 + one_of(3);
      policy.close = static_cast<CloseRule>(one_of(4));
      if (policy.close == CloseRule::kCount) policy.close_count = 1 + one_of(3);
      if (policy.close == CloseRule::kWeight) policy.close_weight = 2;
      if (policy.close == CloseRule::kDeadline) policy.close_seconds = 3;
      if (policy.close == CloseRule::kCount || policy.close == CloseRule::kWeight) {
        policy.too_few = static_cast<TooFew>(one_of(2));
      }
      break;
  }
  return policy;
}

class RandomFleet {
 public:
  RandomFleet(uint64_t seed, AggregationMode mode, bool staged)
      : random_(seed), mode_(mode), staged_(staged), fleet_(Policy()) {}

  void Run(int num_events) {
    for (int event = 0; event < num_events && !::testing::Test::HasFailure(); ++event) Act();
    Settle();
    CheckRecords();
  }

  // All that can be seen of the run.
  std::string Story() {
    std::string story = fleet_.Bytes();
    for (const auto& [ticket, sent] : sent_) {
      absl::StrAppend(&story, ticket, ": ", fleet_.Told(ticket), "\n");
    }
    return story;
  }

  size_t num_versions() const { return fleet_.made.size(); }

 private:
  AggregationConfig Policy() {
    AggregationConfig policy = RandomPolicy(random_, mode_);
    if (staged_) {
      policy.reduce_order = ReduceOrder::kByWorker;
      policy.max_workers = 4;
    }
    return policy;
  }
  uint64_t OneOf(uint64_t n) { return random_() % n; }
  std::string AnyName() { return std::string(1, static_cast<char>('a' + OneOf(8))); }

  void Act() {
    const std::string name = AnyName();
    switch (OneOf(20)) {
      case 0:
      case 1:
        (void)fleet_.Join(name, /*gradient=*/OneOf(8) != 0);
        break;
      case 2:
        (void)fleet_.Leave(name);
        break;
      case 3:
      case 4:
        (void)fleet_.Heartbeat(name);
        break;
      case 5:
        if (!sent_.empty()) SendAgain();
        break;
      case 6:
        BreakSomeCall();
        break;
      case 7:
        fleet_.now += absl::Milliseconds(OneOf(40000));  // and no tick, which may come late
        break;
      case 8:
        fleet_.Do(Tick{});
        break;
      case 9:
        fleet_.Pass(absl::Milliseconds(OneOf(OneOf(4) == 0 ? 30000 : 3000)));
        break;
      case 10:
        if (OneOf(4) == 0) fleet_.Configure(Policy());
        break;
      case 11:
        if (OneOf(10) == 0) fleet_.Restart();
        break;
      case 12:
        ActWhileAStepIsTaken();
        break;
      default:
        SendNew(name);
    }
  }

  void Send(const Contribution& contribution) {
    const uint64_t ticket = fleet_.Send(contribution);
    sent_[ticket] = contribution;
    if (!fleet_.last.fold && !fleet_.last.step.has_value()) return;
    // No worker that was fenced counts.
    if (fleet_.last.fold) {
      EXPECT_EQ(contribution.incarnation, fleet_.incarnation(contribution.worker));
    }
  }

  void SendNew(const std::string& name) {
    Contribution contribution = fleet_.Gradient(name);
    if (OneOf(6) == 0) contribution.base_version -= std::min(contribution.base_version, OneOf(4));
    if (OneOf(30) == 0) contribution.base_version += 1;
    if (OneOf(12) == 0) contribution.finite = false;
    if (OneOf(5) == 0) contribution.may_wait = false;
    if (OneOf(40) == 0) contribution.history += 1;
    if (OneOf(3) == 0) contribution.loss = 0.5;
    contribution.weight = 0.25f * static_cast<float>(1 + OneOf(4));
    Send(contribution);
  }

  // A message that comes twice, or late: of an older sequence, or of a zombie.
  void SendAgain() {
    auto newest = sent_.rbegin();
    std::advance(newest, std::min<size_t>(OneOf(6), sent_.size() - 1));
    Contribution contribution = newest->second;
    if (OneOf(10) == 0) contribution.digest ^= 1;
    Send(contribution);
  }

  void BreakSomeCall() {
    for (const auto& [ticket, contribution] : sent_) {
      if (fleet_.Told(ticket) == "waits" && OneOf(2) == 0) return fleet_.Break(ticket);
    }
  }

  void ActWhileAStepIsTaken() {
    fleet_.hold_steps = true;
    const size_t before = fleet_.orders.size();
    SendNew(AnyName());
    if (fleet_.orders.size() > before) {
      for (uint64_t event = OneOf(4); event > 0; --event) {
        const std::string name = AnyName();
        fleet_.now += absl::Milliseconds(OneOf(8000));
        switch (OneOf(4)) {
          case 0:
            (void)fleet_.Join(name);
            break;
          case 1:
            (void)fleet_.Leave(name);
            break;
          case 2:
            (void)fleet_.Heartbeat(name);
            break;
          default:
            BreakSomeCall();
        }
      }
      fleet_.TakeStep();
    }
    fleet_.hold_steps = false;
  }

  // In the end every wait has an end: silent workers expire, and if a round waits for workers to
  // come they do.
  void Settle() {
    const absl::Duration lease = absl::Seconds(30);
    for (int time = 0; time < 40 && fleet_.num_waiting() > 0; ++time) {
      fleet_.Pass(lease);
      if (fleet_.num_waiting() == 0) break;
      const std::string name = absl::StrCat("z", time);
      if (!fleet_.Join(name).ok()) {
        BreakSomeCall();
        continue;
      }
      Contribution contribution = fleet_.Gradient(name);
      contribution.weight = 100;
      Send(contribution);
    }
    EXPECT_EQ(fleet_.num_waiting(), 0u) << "some wait has no end";
  }

  // Every contribution that was told APPLIED is in that version, and none is in two.
  void CheckRecords() {
    std::map<std::tuple<std::string, uint64_t, uint64_t>, uint64_t> version_of;
    for (const auto& record : fleet_.made) {
      std::set<std::string> workers;
      for (const RoundMember& member : record->members) {
        const auto key = std::tuple{member.worker, member.incarnation, member.sequence};
        EXPECT_TRUE(version_of.emplace(key, record->version).second)
            << member.worker << " " << member.sequence << " is in two versions";
        if (mode_ == AggregationMode::kSynchronous) {
          EXPECT_TRUE(workers.insert(member.worker).second) << member.worker << " counts twice";
        }
      }
      EXPECT_GT(record->total_weight, 0);
      EXPECT_LE(record->opened, record->closed);
    }
    std::map<std::tuple<std::string, uint64_t, uint64_t>, std::string> verdict_of;
    for (const auto& [ticket, sent] : sent_) {
      const auto answer = fleet_.answers.find(ticket);
      if (answer == fleet_.answers.end() || answer->second.verdict == Verdict::kPending) continue;
      const auto key = std::tuple{sent.worker, sent.incarnation, sent.sequence};
      const auto found = version_of.find(key);
      if (answer->second.verdict == Verdict::kApplied) {
        ASSERT_TRUE(found != version_of.end());
        EXPECT_EQ(found->second, answer->second.applied_version);
      } else {
        EXPECT_TRUE(found == version_of.end()) << "refused and counted";
      }
      // However often it is asked for.
      std::string told = fleet_.Told(ticket);
      if (told.rfind("again ", 0) == 0) told.erase(0, 6);
      EXPECT_EQ(verdict_of.emplace(key, told).first->second, told);
    }
  }

  Random random_;
  const AggregationMode mode_;
  const bool staged_;
  Fleet fleet_;
  std::map<uint64_t, Contribution> sent_;  // by ticket
};

void RunMany(AggregationMode mode, bool staged) {
  size_t versions = 0;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    RandomFleet fleet(seed, mode, staged);
    fleet.Run(300);
    versions += fleet.num_versions();
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_GT(versions, 10000u);  // it was no idle run
}

TEST(PropertyTest, AsynchronousFleetsAddUp) { RunMany(AggregationMode::kAsynchronous, false); }
TEST(PropertyTest, SynchronousFleetsAddUp) { RunMany(AggregationMode::kSynchronous, false); }
TEST(PropertyTest, StagedFleetsAddUp) { RunMany(AggregationMode::kSynchronous, true); }
TEST(PropertyTest, BoundedFleetsAddUp) { RunMany(AggregationMode::kBoundedStaleness, false); }

TEST(PropertyTest, TheSameEventsHaveTheSameEnd) {
  for (const AggregationMode mode : {AggregationMode::kAsynchronous, AggregationMode::kSynchronous,
                                     AggregationMode::kBoundedStaleness}) {
    for (uint64_t seed = 0; seed < 200; ++seed) {
      RandomFleet first(seed, mode, false);
      RandomFleet second(seed, mode, false);
      first.Run(200);
      second.Run(200);
      EXPECT_TRUE(first.Story() == second.Story()) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace talweg::core
