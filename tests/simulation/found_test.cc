// SPDX-License-Identifier: Apache-2.0
//
// The bugs that the simulation has found in the round machine, each in its shortest form.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/byte_io.h"
#include "core/rounds/round_machine.h"
#include "gtest/gtest.h"
#include "tests/simulation/messages.h"
#include "tests/simulation/session_of_world.h"

namespace talweg::simulation {
namespace {

using core::Effects;
using core::RoundMachine;

constexpr uint64_t kHistory = 7;

core::AggregationConfig Synchronous() {
  core::AggregationConfig policy;
  policy.mode = core::AggregationMode::kSynchronous;
  policy.lease_seconds = 10;
  return policy;
}

// A round machine whose clock is in seconds and whose workers are numbers.
class Bench {
 public:
  explicit Bench(const core::AggregationConfig& policy)
      : settings_{policy, 0.125, 1}, machine_(kHistory, ToConfigure(settings_)) {}

  Effects At(double seconds, const core::Event& event) {
    return machine_.Handle(event, ToTime(Seconds(seconds)));
  }
  void Join(double seconds, uint32_t worker) {
    incarnations_[worker] = ++next_incarnation_;
    EXPECT_TRUE(At(seconds, core::Join{WorkerName(worker), next_incarnation_}).status.ok());
  }
  Effects Beat(double seconds, uint32_t worker) {
    return At(seconds, core::Heartbeat{kHistory, WorkerName(worker), incarnations_[worker]});
  }
  // The worker's next contribution or, if it is given, `sequence` again.
  Effects Contribute(double seconds, uint32_t worker, uint64_t sequence = 0,
                     std::optional<uint64_t> base_version = std::nullopt) {
    core::Contribution contribution;
    contribution.history = kHistory;
    contribution.worker = WorkerName(worker);
    contribution.incarnation = incarnations_[worker];
    contribution.sequence = sequence != 0 ? sequence : ++sequences_[worker];
    contribution.base_version = base_version.value_or(machine_.version());
    contribution.finite = true;
    contribution.ticket = ++next_ticket_;
    return At(seconds, contribution);
  }
  void Leave(double seconds, uint32_t worker) {
    EXPECT_TRUE(
        At(seconds, core::Leave{kHistory, WorkerName(worker), incarnations_[worker]}).status.ok());
  }
  void Configure(double seconds, const core::AggregationConfig& policy) {
    settings_.policy = policy;
    ++settings_.config_version;
    const Effects effects = At(seconds, ToConfigure(settings_));
    EXPECT_TRUE(effects.released.empty() && !effects.step.has_value());
  }
  Effects Tick(double seconds) { return At(seconds, core::Tick{}); }
  Effects Step(double seconds) { return At(seconds, core::StepTaken{}); }
  bool TicksBy(double seconds) const { return machine_.NextTick() <= ToTime(Seconds(seconds)); }
  RoundMachine& machine() { return machine_; }
  const Settings& settings() const { return settings_; }

 private:
  Settings settings_;
  RoundMachine machine_;
  std::map<uint32_t, uint64_t> incarnations_;
  std::map<uint32_t, uint64_t> sequences_;
  uint64_t next_incarnation_ = 0;
  uint64_t next_ticket_ = 0;
};

TEST(FoundTest, LeaseStartsAnewWhenAWaitIsOver) {
  Bench bench(Synchronous());
  bench.Join(0, 0);
  bench.Join(0, 1);
  EXPECT_TRUE(bench.Contribute(1, 0).waits);
  bench.Beat(9, 1);
  bench.Tick(11);
  ASSERT_TRUE(bench.Contribute(18, 1).step.has_value());
  EXPECT_EQ(bench.Step(18).released.size(), 2u);
  bench.Beat(26, 1);
  bench.Tick(27.5);
  EXPECT_EQ(bench.machine().num_live_workers(), 2u);
  bench.Tick(28);
  EXPECT_EQ(bench.machine().num_live_workers(), 1u);
}

TEST(FoundTest, ShorterLeaseIsTickedForInTime) {
  Bench bench(Synchronous());
  bench.Join(0, 0);
  core::AggregationConfig policy = Synchronous();
  policy.lease_seconds = 1;
  bench.Configure(1, policy);
  bench.Tick(1);
  bench.Beat(2, 0);
  EXPECT_TRUE(bench.TicksBy(3));
  bench.Tick(3);
  EXPECT_EQ(bench.machine().num_live_workers(), 0u);
}

TEST(FoundTest, ShorterLeaseIsTickedForInTimeAfterARejoin) {
  Bench bench(Synchronous());
  bench.Join(0, 0);
  core::AggregationConfig policy = Synchronous();
  policy.lease_seconds = 1;
  bench.Configure(1, policy);
  bench.Tick(1);
  bench.Join(2, 0);
  EXPECT_TRUE(bench.TicksBy(3));
}

TEST(FoundTest, FirstRoundOpensWhenAnExpiredWorkerComesBack) {
  core::AggregationConfig policy = Synchronous();
  policy.min_workers = 2;
  Bench bench(policy);
  bench.Join(0, 0);
  bench.Join(0, 1);
  bench.Beat(8, 0);
  bench.Tick(10);
  EXPECT_TRUE(bench.Contribute(11, 0).waits);
  EXPECT_TRUE(bench.Beat(12, 1).status.ok());
  EXPECT_TRUE(bench.TicksBy(12));
  EXPECT_FALSE(bench.Tick(12).step.has_value());  // open now, and worker 1 is expected
  EXPECT_TRUE(bench.Contribute(13, 1).step.has_value());
}

TEST(FoundTest, FirstRoundOpensWhenFewerWorkersAreAskedFor) {
  core::AggregationConfig policy = Synchronous();
  policy.min_workers = 2;
  Bench bench(policy);
  bench.Join(0, 0);
  EXPECT_TRUE(bench.Contribute(1, 0).waits);
  policy.min_workers = 1;
  bench.Configure(2, policy);
  EXPECT_TRUE(bench.TicksBy(2));
  EXPECT_TRUE(bench.Tick(2).step.has_value());
}

TEST(FoundTest, WiderBoundAnswersWhoWaited) {
  core::AggregationConfig policy;
  policy.mode = core::AggregationMode::kBoundedStaleness;
  Bench bench(policy);
  bench.Join(0, 0);
  bench.Join(0, 1);
  ASSERT_TRUE(bench.Contribute(1, 0).step.has_value());
  EXPECT_TRUE(bench.Step(1).released.empty());  // one verdict ahead of worker 1
  policy.max_rounds_ahead = 1;
  bench.Configure(2, policy);  // The caller that configures is told of nobody's answer.
  EXPECT_TRUE(bench.TicksBy(2));
  EXPECT_EQ(bench.Tick(2).released.size(), 1u);
}

TEST(FoundTest, WhoRejoinedAndLeftGivesItsPlaceBack) {
  core::AggregationConfig policy = Synchronous();
  policy.max_workers = 2;
  Bench bench(policy);
  bench.Join(0, 0);
  bench.Join(0, 1);
  EXPECT_TRUE(bench.Contribute(1, 0).waits);
  bench.Join(2, 0);
  bench.Leave(3, 0);
  ASSERT_TRUE(bench.Contribute(4, 1).step.has_value());
  bench.Step(4);
  bench.Join(5, 2);
  EXPECT_EQ(bench.machine().num_workers(), 2u);
}

TEST(FoundTest, WhoLeftIsNotForgottenTwice) {
  core::AggregationConfig policy = Synchronous();
  policy.max_workers = 2;
  Bench bench(policy);
  bench.Join(0, 0);
  bench.Join(0, 1);
  EXPECT_TRUE(bench.Contribute(1, 0).waits);
  bench.Leave(2, 0);
  ASSERT_TRUE(bench.Contribute(3, 1).step.has_value());
  bench.Join(4, 2);  // The step is being taken: a worker that left takes no place.
  EXPECT_EQ(bench.machine().num_workers(), 2u);
  bench.Step(5);
  EXPECT_EQ(bench.machine().num_workers(), 2u);
  EXPECT_FALSE(bench.At(6, core::Join{WorkerName(3), 9}).status.ok());
}

TEST(FoundTest, OneVersionLateIsNotLateForEver) {
  Bench bench(Synchronous());
  bench.Join(0, 0);
  bench.Join(0, 1);
  bench.Beat(5, 0);
  bench.Beat(9, 0);
  bench.Tick(10);  // worker 1 is slow, and expired
  ASSERT_TRUE(bench.Contribute(11, 0).step.has_value());
  bench.Step(11);
  bench.Beat(12, 1);  // it lives after all, and takes its gradient at version 0
  EXPECT_TRUE(bench.Contribute(13, 0).waits);
  EXPECT_EQ(bench.Contribute(14, 1, /*sequence=*/1, /*base_version=*/0).answer->verdict,
            core::Verdict::kRoundClosed);
  EXPECT_TRUE(bench.Contribute(15, 1, /*sequence=*/2).step.has_value());  // it was waited for
  bench.Step(15);
  // This holds only once: a second contribution that is too old ends the expectation.
  EXPECT_TRUE(bench.Contribute(16, 0).waits);
  bench.Contribute(17, 1, /*sequence=*/3, /*base_version=*/0);
  EXPECT_TRUE(bench.Contribute(18, 1, /*sequence=*/4, /*base_version=*/0).step.has_value());
}

TEST(FoundTest, LateWorkersAreTheFirstByName) {
  core::AggregationConfig policy = Synchronous();
  policy.close = core::CloseRule::kCount;
  policy.close_count = 1;
  Bench bench(policy);
  for (uint32_t worker = 0; worker < 100; ++worker) bench.Join(0, worker);
  ASSERT_TRUE(bench.Contribute(1, 3).step.has_value());
  const Effects effects = bench.Step(1);
  EXPECT_EQ(effects.made->num_late, 99u);
  ASSERT_EQ(effects.made->late_workers.size(), core::kMaxLateNames);
  for (uint32_t place = 0; place < core::kMaxLateNames; ++place) {
    EXPECT_EQ(effects.made->late_workers[place], WorkerName(place < 3 ? place : place + 1));
  }
}

TEST(FoundTest, NewcomerStartsAtOneClockInWhateverOrderTheOthersWent) {
  core::AggregationConfig policy;
  policy.mode = core::AggregationMode::kBoundedStaleness;
  policy.max_rounds_ahead = 3;
  std::string first_order;
  for (const bool fast_goes_first : {true, false}) {
    Bench bench(policy);
    bench.Join(0, 0);
    bench.Join(0, 1);
    for (int round = 0; round < 3; ++round) {
      ASSERT_TRUE(bench.Contribute(1, 0).step.has_value());
      EXPECT_EQ(bench.Step(1).released.size(), 1u);
    }
    bench.Leave(2, fast_goes_first ? 0 : 1);
    bench.Leave(2, fast_goes_first ? 1 : 0);
    // The joiner starts as far ahead as any worker was. Where it starts is part of the state.
    bench.Join(3, 2);
    core::ByteWriter writer;
    bench.machine().Save(writer);
    if (fast_goes_first) {
      first_order = writer.bytes();
    } else {
      EXPECT_EQ(writer.bytes(), first_order);
    }
  }
}

TEST(FoundTest, RestoredMachineAnswersInOneOrder) {
  core::AggregationConfig policy;
  policy.mode = core::AggregationMode::kBoundedStaleness;
  constexpr uint32_t kWorkers = 40;
  Bench bench(policy);
  for (uint32_t worker = 0; worker <= kWorkers; ++worker) bench.Join(0, worker);
  for (uint32_t worker = 0; worker < kWorkers; ++worker) {
    ASSERT_TRUE(bench.Contribute(1, worker).step.has_value());
    EXPECT_TRUE(bench.Step(1).released.empty());
  }
  core::ByteWriter writer;
  bench.machine().Save(writer);
  std::vector<std::vector<uint64_t>> orders;
  for (int copy = 0; copy < 2; ++copy) {
    RoundMachine machine(1, ToConfigure(bench.settings()));
    core::ByteReader reader(writer.bytes());
    ASSERT_TRUE(machine.Load(reader, ToTime(Seconds(2))).ok());
    for (uint32_t worker = 0; worker <= kWorkers; ++worker) {
      core::Contribution again;
      again.history = kHistory;
      again.worker = WorkerName(worker);
      again.incarnation = worker + 1;
      again.sequence = 1;
      again.base_version = worker < kWorkers ? worker : machine.version();
      again.finite = true;
      again.ticket = worker + 1;
      EXPECT_TRUE(machine.Handle(again, ToTime(Seconds(3))).waits);
    }
    std::vector<uint64_t>& order = orders.emplace_back();
    for (const core::Released& released :
         machine.Handle(core::StepTaken{}, ToTime(Seconds(4))).released) {
      order.push_back(released.ticket);
    }
    EXPECT_EQ(order.size(), kWorkers + 1);
  }
  EXPECT_EQ(orders[0], orders[1]);
}

}  // namespace
}  // namespace talweg::simulation
