// SPDX-License-Identifier: Apache-2.0
//
// What is told of a step: the order to take it, the report, the version's record; weights, losses,
// late workers.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/rounds/rounds_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The loss that is told of a round of these.
double LossOf(const std::vector<double>& losses) {
  Fleet fleet(Accumulating(losses.size()));
  fleet.JoinAll({"a"});
  for (const double loss : losses) {
    Contribution contribution = fleet.Gradient("a");
    contribution.loss = loss;
    fleet.Send(contribution);
  }
  return fleet.machine.last_step()->loss.value();
}

TEST(RecordTest, HoldsMembersWeightsAndTimes) {
  AggregationConfig aggregation = Synchronous();
  aggregation.max_staleness = 3;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.Contribute("b");
  fleet.Pass(absl::Seconds(1));
  const absl::Time opened = fleet.now;
  fleet.Contribute("b", 3);
  fleet.Pass(absl::Seconds(2));
  Contribution old = fleet.Gradient("a");
  old.base_version = 0;
  old.weight = 0.5;
  fleet.Send(old);
  ASSERT_EQ(fleet.made.size(), 2u);
  const VersionRecord& record = fleet.RecordOf(2);
  EXPECT_EQ(record.version, 2u);
  EXPECT_EQ(record.config_version, 1u);
  EXPECT_EQ(record.opened, opened);
  EXPECT_EQ(record.closed, fleet.now);
  EXPECT_EQ(record.total_weight, 3.5);
  ASSERT_EQ(record.members.size(), 2u);
  const RoundMember& b = record.members[0];
  EXPECT_EQ(b.worker, "b");
  EXPECT_EQ(b.incarnation, fleet.incarnation("b"));
  EXPECT_EQ(b.sequence, 2u);
  EXPECT_EQ(b.base_version, 1u);
  EXPECT_EQ(b.weight, 3);
  EXPECT_EQ(b.time, opened);
  const RoundMember& a = record.members[1];
  EXPECT_EQ(a.worker, "a");
  EXPECT_EQ(a.base_version, 0u);
  EXPECT_EQ(a.weight, 0.5f);
  EXPECT_EQ(a.time, fleet.now);
}

TEST(RecordTest, TheReportSaysWhatTheStepMeasured) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a"});
  Contribution contribution = fleet.Gradient("a");
  contribution.loss = 0.25;
  const uint64_t call = fleet.Send(contribution);
  const StepReport& report = *fleet.answers[call].report;
  EXPECT_EQ(report.learning_rate, 0.5);
  EXPECT_EQ(report.gradient_norm, 3);
  EXPECT_EQ(report.clip_factor, 0.5);
  EXPECT_EQ(report.update_norm, 0.125);
  EXPECT_EQ(report.staleness, 0u);
  EXPECT_EQ(report.contributors, 1u);
  EXPECT_EQ(report.loss, 0.25);
  EXPECT_EQ(report.total_weight, 1);
  EXPECT_EQ(report.num_late, 0u);
  EXPECT_TRUE(report.late_workers.empty());
}

TEST(RecordTest, OrderReportAndRecordSayTheSame) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a", 2);
  fleet.Contribute("b", 0.25);
  fleet.Contribute("c", 1024);
  const StepOrder& order = fleet.OrderOf(1);
  EXPECT_EQ(order.number, fleet.RecordOf(1).version);
  EXPECT_EQ(order.total_weight, 1026.25);
  EXPECT_EQ(order.total_weight, fleet.RecordOf(1).total_weight);
  EXPECT_EQ(order.total_weight, fleet.machine.last_step()->total_weight);
  EXPECT_EQ(order.learning_rate, fleet.machine.last_step()->learning_rate);
  EXPECT_EQ(order.contributors, fleet.machine.last_step()->contributors);
  EXPECT_TRUE(order.by_worker.empty());
  EXPECT_EQ(order.trim, 0u);
}

TEST(RecordTest, TotalWeightDoesNotDependOnTheOrderOfArrival) {
  std::vector<float> weights = {1e30f, 1, 1e-30f, 3e7f, 1e30f};
  std::sort(weights.begin(), weights.end());
  double first = 0;
  do {
    Fleet fleet(Accumulating(weights.size()));
    fleet.JoinAll({"a"});
    for (const float weight : weights) fleet.Contribute("a", weight);
    if (first == 0) first = fleet.OrderOf(1).total_weight;
    EXPECT_EQ(fleet.OrderOf(1).total_weight, first);
  } while (std::next_permutation(weights.begin(), weights.end()));
}

// --- Weights.

TEST(WeightTest, IsHandedOnAsItIs) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a", 0.1f);
  EXPECT_EQ(fleet.last.weight, 0.1f);
}

TEST(WeightTest, StalenessScalesItByOneOverOnePlusTau) {
  AggregationConfig aggregation = Synchronous();
  aggregation.max_staleness = 9;
  aggregation.stale_scale = StaleScale::kInverse;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  for (int version = 0; version < 9; ++version) fleet.Contribute("a");
  fleet.JoinAll({"b"});
  for (uint64_t staleness = 0; staleness <= 9; ++staleness) {
    const uint64_t version = fleet.machine.version();
    Contribution contribution = fleet.Gradient("a");
    contribution.base_version = version - staleness;
    contribution.weight = 0.7f;
    fleet.Send(contribution);
    const float scaled = static_cast<float>(0.7f / (1.0 + static_cast<double>(staleness)));
    EXPECT_EQ(fleet.last.weight, scaled) << staleness;
    fleet.Contribute("b");
    ASSERT_EQ(fleet.machine.version(), version + 1);
    EXPECT_EQ(fleet.RecordOf(fleet.made.size()).members[0].weight, scaled);
    EXPECT_EQ(fleet.RecordOf(fleet.made.size()).total_weight, 1.0 + static_cast<double>(scaled));
    EXPECT_EQ(fleet.machine.last_step()->staleness, staleness);
  }
}

TEST(WeightTest, IsNotScaledUnlessAskedFor) {
  AggregationConfig aggregation = Synchronous();
  aggregation.max_staleness = 9;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  for (int version = 0; version < 9; ++version) fleet.Contribute("a");
  Contribution contribution = fleet.Gradient("a");
  contribution.base_version = 0;
  fleet.Send(contribution);
  EXPECT_EQ(fleet.RecordOf(fleet.made.size()).members[0].weight, 1);
}

TEST(WeightTest, StaysPositiveHoweverSmall) {
  AggregationConfig aggregation = Synchronous();
  aggregation.max_staleness = 9;
  aggregation.stale_scale = StaleScale::kInverse;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  for (int version = 0; version < 9; ++version) fleet.Contribute("a");
  Contribution contribution = fleet.Gradient("a");
  contribution.base_version = 0;
  contribution.weight = std::numeric_limits<float>::denorm_min();
  fleet.Send(contribution);
  EXPECT_GT(fleet.RecordOf(fleet.made.size()).members[0].weight, 0);
  EXPECT_GT(fleet.OrderOf(fleet.orders.size()).total_weight, 0);
}

// --- Losses.

TEST(LossTest, IsTheWeightedMeanOfThoseThatHadOne) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  Contribution a = fleet.Gradient("a");
  a.loss = 1;
  Contribution b = fleet.Gradient("b");
  b.loss = 2;
  b.weight = 3;
  fleet.Send(a);
  fleet.Send(b);
  fleet.Contribute("c");
  EXPECT_EQ(fleet.machine.last_step()->loss, 1.75);
}

TEST(LossTest, OfAMedianRoundIsTheMedian) {
  AggregationConfig aggregation = Synchronous();
  aggregation.reduction = Reduction::kMedian;
  aggregation.max_workers = 3;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b", "c"});
  for (const auto& [worker, loss] : {std::pair("a", 1.0), {"b", 1000.0}, {"c", 2.0}}) {
    Contribution contribution = fleet.Gradient(worker);
    contribution.loss = loss;
    fleet.Send(contribution);
  }
  EXPECT_EQ(fleet.machine.last_step()->loss, 2);
}

TEST(LossTest, IsUnsetWhereNobodyHadOne) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a"});
  fleet.Contribute("a");
  EXPECT_FALSE(fleet.machine.last_step()->loss.has_value());
}

TEST(LossTest, DoesNotDependOnTheOrderOfArrival) {
  std::vector<double> losses = {-1e300, 1e-300, 0.1, 0.3, 1e300};
  do {
    EXPECT_EQ(LossOf(losses), (0.1 + 0.3) / 5);  // and what is below its last bit
  } while (std::next_permutation(losses.begin(), losses.end()));
}

TEST(LossTest, ThatIsNotFiniteIsToldAsItIs) {
  EXPECT_EQ(LossOf({kInfinity}), kInfinity);
  EXPECT_EQ(LossOf({-kInfinity}), -kInfinity);
  EXPECT_TRUE(std::isnan(LossOf({std::nan("")})));
  EXPECT_EQ(LossOf({1, kInfinity, -5}), -2);  // the others are told
  EXPECT_EQ(LossOf({kInfinity, kInfinity}), kInfinity);
  EXPECT_TRUE(std::isnan(LossOf({kInfinity, -kInfinity})));
  EXPECT_TRUE(std::isnan(LossOf({kInfinity, std::nan("")})));
}

// --- Late workers.

TEST(LateTest, TellsWhichWorkersWereExpectedAndDidNotCome) {
  AggregationConfig aggregation = Synchronous(CloseRule::kDeadline);
  aggregation.close_seconds = 5;
  Fleet fleet(aggregation);
  fleet.JoinAll({"e", "d", "c", "b", "a"});
  fleet.Contribute("c");
  fleet.JoinAll({"joined later", "b"});  // b is a new incarnation
  EXPECT_TRUE(fleet.Leave("a").ok());
  fleet.Pass(absl::Seconds(5));
  EXPECT_EQ(fleet.RecordOf(1).num_late, 3u);
  EXPECT_THAT(fleet.RecordOf(1).late_workers, ElementsAre("b", "d", "e"));
  EXPECT_EQ(fleet.machine.last_step()->num_late, 3u);
  EXPECT_EQ(fleet.machine.last_step()->late_workers, fleet.RecordOf(1).late_workers);
  EXPECT_EQ(fleet.RecordOf(1).num_expired, 0u);
}

TEST(LateTest, AWorkerWhoseLeaseEndedDuringTheRoundIsTold) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c", "d"});
  fleet.Contribute("a");
  fleet.Pass(absl::Seconds(20));
  for (const char* worker : {"b", "d"}) EXPECT_TRUE(fleet.Heartbeat(worker).ok());
  fleet.Contribute("b");
  fleet.Pass(absl::Seconds(15));  // c has expired
  EXPECT_EQ(fleet.machine.version(), 0u);
  fleet.Contribute("d");
  ASSERT_EQ(fleet.machine.version(), 1u);
  EXPECT_EQ(fleet.RecordOf(1).num_expired, 1u);
  EXPECT_THAT(fleet.RecordOf(1).expired_workers, ElementsAre("c"));
  EXPECT_EQ(fleet.RecordOf(1).num_late, 0u);
  EXPECT_EQ(fleet.machine.last_step()->num_expired, 1u);
  EXPECT_EQ(fleet.machine.last_step()->expired_workers, fleet.RecordOf(1).expired_workers);
  fleet.Contribute("a");
  fleet.Contribute("b");
  fleet.Contribute("d");
  ASSERT_EQ(fleet.machine.version(), 2u);
  EXPECT_EQ(fleet.RecordOf(2).num_expired, 0u);  // that round never expected it
}

TEST(LateTest, AWorkerThatExpiredAndCameBackInTimeIsPartOfTheRoundAndNotMissing) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a");
  fleet.Pass(absl::Seconds(20));
  EXPECT_TRUE(fleet.Heartbeat("b").ok());
  fleet.Pass(absl::Seconds(15));  // c has expired
  fleet.Contribute("c");
  fleet.Contribute("b");
  ASSERT_EQ(fleet.machine.version(), 1u);
  EXPECT_EQ(fleet.MembersOf(1), "a c b");
  EXPECT_EQ(fleet.RecordOf(1).num_expired, 0u);
}

TEST(LateTest, AWorkerThatWasRefusedOrMadeNoProgressIsLate) {
  AggregationConfig aggregation = Synchronous();
  aggregation.progress_seconds = 5;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b", "c"});
  Contribution refused = fleet.Gradient("b");
  fleet.Contribute("a");
  refused.finite = false;
  fleet.Send(refused);
  fleet.Pass(absl::Seconds(6));  // c lives, but sends nothing
  ASSERT_EQ(fleet.machine.version(), 1u);
  EXPECT_THAT(fleet.RecordOf(1).late_workers, ElementsAre("b", "c"));
}

// --- Refusals.

TEST(RefusalTest, AreCountedByTheirVerdict) {
  AggregationConfig aggregation = Synchronous();
  aggregation.max_staleness = 1;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  for (int version = 0; version < 3; ++version) fleet.Contribute("a");
  Contribution infinite = fleet.Gradient("a");
  infinite.finite = false;
  fleet.Send(infinite);
  Contribution old = fleet.Gradient("a");
  old.base_version = 1;
  fleet.Send(old);
  fleet.Send(old);  // a repeat counts once
  EXPECT_EQ(fleet.machine.refusals(), (RefusalCounts{1, 1, 0}));
  fleet.JoinAll({"b"});
  fleet.Contribute("a");
  fleet.Contribute("a");  // a second one in the same round
  fleet.Contribute("b");
  EXPECT_EQ(fleet.machine.refusals(), (RefusalCounts{1, 1, 1}));
}

// --- What the reduction needs to know.

TEST(OrderTest, ByWorkerNamesContributionsInTheOrderOfTheirWorkers) {
  AggregationConfig aggregation = Synchronous();
  aggregation.reduce_order = ReduceOrder::kByWorker;
  aggregation.max_workers = 4;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b", "c", "d"});
  for (const char* worker : {"c", "a", "d", "b"}) fleet.Contribute(worker);
  EXPECT_THAT(fleet.OrderOf(1).by_worker, ElementsAre(1, 3, 0, 2));
  EXPECT_EQ(fleet.MembersOf(1), "c a d b");  // the record is in the order of arrival
}

TEST(OrderTest, TrimIsTheFloorOfTheShareOfThoseWhoCame) {
  const struct {
    double fraction;
    int count;
    uint32_t trim;
  } rows[] = {{0, 5, 0},    {0.1, 9, 0},  {0.1, 10, 1}, {0.25, 7, 1},
              {0.25, 8, 2}, {0.49, 2, 0}, {0.49, 3, 1}, {0.499, 10, 4}};
  for (const auto& [fraction, count, trim] : rows) {
    AggregationConfig aggregation = Synchronous();
    aggregation.reduction = Reduction::kTrimmedMean;
    aggregation.trim_fraction = fraction;
    aggregation.max_workers = 16;
    Fleet fleet(aggregation);
    for (int number = 0; number < count; ++number) {
      EXPECT_TRUE(fleet.Join(absl::StrCat(number)).ok());
    }
    for (int number = 0; number < count; ++number) fleet.Contribute(absl::StrCat(number));
    ASSERT_EQ(fleet.orders.size(), 1u);
    EXPECT_EQ(fleet.OrderOf(1).trim, trim) << fraction << " of " << count;
    EXPECT_LT(2 * trim, fleet.OrderOf(1).contributors);
  }
}

}  // namespace
}  // namespace talweg::core
