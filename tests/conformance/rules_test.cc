// SPDX-License-Identifier: Apache-2.0
//
// Rounds of a few workers over the wire, under each rule of how a version is made: the parameters
// are those that anyone can work out by hand, and late workers are named.
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/conformance/served_test.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::StepOf;
using testing::VectorSession;

struct Contribution {
  std::string worker;
  std::vector<float> gradient;
  float weight = 1;
  uint64_t base_version = 0;
  bool closes_round = false;
  bool abstains = false;
};

const Contribution kA = {"a", {3, -6}};
const Contribution kB = {"b", {6, 12}};
const Contribution kC = {"c", {-18, 3}};
const Contribution kD = {"d", {12, 0}};
const Contribution kE = {"e", {30, -60}};

Contribution Weighing(Contribution one, float weight) {
  one.weight = weight;
  return one;
}
Contribution Closing(Contribution one) {
  one.closes_round = true;
  return one;
}
Contribution Abstaining(const std::string& worker) {
  Contribution one = {worker, {}};
  one.abstains = true;
  return one;
}
Contribution TakenAt(Contribution one, uint64_t base_version) {
  one.base_version = base_version;
  return one;
}

// A rule, and what contributions make under it. There are as many workers as names in the
// contributions; all of them are there from the start.
struct Rule {
  std::string name;
  v1::AggregationMode mode;
  void (*set)(v1::AggregationPolicy& policy);
  std::vector<Contribution> contributions;  // in the order of their arrival
  // The session afterwards.
  uint64_t version;
  std::vector<float> parameters;
  // The record of the last version.
  std::vector<std::string> members;
  double total_weight;
};
void PrintTo(const Rule& rule, std::ostream* out) { *out << rule.name; }

const std::vector<Rule>& Rules() {
  static const auto& rules = *new std::vector<Rule>{
      // The rate is 0.5. ((3 + 6 - 18) / 3, (-6 + 12 + 3) / 3) = (-3, 3).
      {"All",
       v1::AGGREGATION_MODE_SYNCHRONOUS,
       [](v1::AggregationPolicy& policy) { policy.set_close(v1::CLOSE_RULE_ALL); },
       {kA, kB, kC},
       1,
       {1.5f, -1.5f},
       {"a", "b", "c"},
       3},
      // (4.5, 3); c comes too late.
      {"Count",
       v1::AGGREGATION_MODE_SYNCHRONOUS,
       [](v1::AggregationPolicy& policy) {
         policy.set_close(v1::CLOSE_RULE_COUNT);
         policy.set_close_count(2);
       },
       {kA, kB, kC},
       1,
       {-2.25f, -1.5f},
       {"a", "b"},
       2},
      // The same, because c abstains.
      {"Abstention",
       v1::AGGREGATION_MODE_SYNCHRONOUS,
       [](v1::AggregationPolicy&) {},
       {kA, Abstaining("c"), kB},
       1,
       {-2.25f, -1.5f},
       {"a", "b"},
       2},
      // The same, because c counts as well, and brings nothing.
      {"AbstentionCounts",
       v1::AGGREGATION_MODE_SYNCHRONOUS,
       [](v1::AggregationPolicy& policy) {
         policy.set_close(v1::CLOSE_RULE_COUNT);
         policy.set_close_count(3);
       },
       {Abstaining("c"), kA, kB},
       1,
       {-2.25f, -1.5f},
       {"a", "b"},
       2},
      // The same: the window is closed by a worker without a gradient.
      {"AbstentionClosesWindow",
       v1::AGGREGATION_MODE_ASYNCHRONOUS,
       [](v1::AggregationPolicy& policy) { policy.set_gradient_accumulation_steps(4); },
       {kA, kB, Closing(Abstaining("c"))},
       1,
       {-2.25f, -1.5f},
       {"a", "b"},
       2},
      // The same, because b closes the round.
      {"AskedToClose",
       v1::AGGREGATION_MODE_SYNCHRONOUS,
       [](v1::AggregationPolicy& policy) { policy.set_workers_may_close(true); },
       {kA, Closing(kB), kC},
       1,
       {-2.25f, -1.5f},
       {"a", "b"},
       2},
      // The same, though 4 contributions would fill the window.
      {"UnfinishedWindow",
       v1::AGGREGATION_MODE_ASYNCHRONOUS,
       [](v1::AggregationPolicy& policy) { policy.set_gradient_accumulation_steps(4); },
       {kA, Closing(kB)},
       1,
       {-2.25f, -1.5f},
       {"a", "b"},
       2},
      // (3 + 3 * 6) / 4, (-6 + 3 * 12) / 4; c comes too late.
      {"Weight",
       v1::AGGREGATION_MODE_SYNCHRONOUS,
       [](v1::AggregationPolicy& policy) {
         policy.set_close(v1::CLOSE_RULE_WEIGHT);
         policy.set_close_weight(4);
       },
       {kA, Weighing(kB, 3), kC},
       1,
       {-2.625f, -3.75f},
       {"a", "b"},
       4},
      // b and c say nothing.
      {"Deadline",
       v1::AGGREGATION_MODE_SYNCHRONOUS,
       [](v1::AggregationPolicy& policy) {
         policy.set_close(v1::CLOSE_RULE_DEADLINE);
         policy.set_close_seconds(0.2);
       },
       {kA},
       1,
       {-1.5f, 3},
       {"a"},
       1},
      // Without -18 and 30, and without -60 and 12: (7, -1).
      {"TrimmedMean",
       v1::AGGREGATION_MODE_SYNCHRONOUS,
       [](v1::AggregationPolicy& policy) {
         policy.set_reduction(v1::REDUCTION_TRIMMED_MEAN);
         policy.set_trim_fraction(0.3);
         policy.set_max_workers(5);
       },
       {kE, kD, kA, kC, kB},
       1,
       {-3.5f, 0.5f},
       {"e", "d", "a", "c", "b"},
       5},
      // Nothing is left out: ((3 + 6 - 18) / 3, (-6 + 12 + 3) / 3) = (-3, 3).
      {"TrimmedMeanOfAll",
       v1::AGGREGATION_MODE_SYNCHRONOUS,
       [](v1::AggregationPolicy& policy) {
         policy.set_reduction(v1::REDUCTION_TRIMMED_MEAN);
         policy.set_trim_fraction(0);
         policy.set_max_workers(3);
       },
       {kC, kA, kB},
       1,
       {1.5f, -1.5f},
       {"c", "a", "b"},
       3},
      {"Median",
       v1::AGGREGATION_MODE_SYNCHRONOUS,
       [](v1::AggregationPolicy& policy) {
         policy.set_reduction(v1::REDUCTION_MEDIAN);
         policy.set_max_workers(5);
       },
       {kE, kD, kA, kC, kB},
       1,
       {-3, 0},
       {"e", "d", "a", "c", "b"},
       5},
      // The weighted sum of the first elements is 6, exactly.
      {"MeanInAnyOrder",
       v1::AGGREGATION_MODE_SYNCHRONOUS,
       [](v1::AggregationPolicy& policy) { policy.set_reduction(v1::REDUCTION_MEAN); },
       {{"a", {1e20f, 3}}, {"b", {3, 0}, 2}, {"c", {-1e20f, 6}}},
       1,
       {-0.75f, -1.125f},
       {"a", "b", "c"},
       4},
      // By name, in float64: 1e20 + 6 is 1e20.
      {"MeanByWorker",
       v1::AGGREGATION_MODE_SYNCHRONOUS,
       [](v1::AggregationPolicy& policy) {
         policy.set_reduce_order(v1::REDUCE_ORDER_BY_WORKER);
         policy.set_max_workers(3);
       },
       {{"a", {1e20f, 3}}, {"c", {-1e20f, 6}}, {"b", {3, 0}, 2}},
       1,
       {0, -1.125f},
       {"a", "c", "b"},
       4},
      // Each contribution makes a version, however old it is: half of (-9, 9).
      {"BoundedStaleness",
       v1::AGGREGATION_MODE_BOUNDED_STALENESS,
       [](v1::AggregationPolicy&) {},
       {kA, kB, kC},
       3,
       {4.5f, -4.5f},
       {"c"},
       1},
      // The first version is as with All. Then b and c count half: (3 + 3 - 9, -6 + 6 + 1.5) / 2.
      {"StaleScaleInverse",
       v1::AGGREGATION_MODE_ASYNCHRONOUS,
       [](v1::AggregationPolicy& policy) {
         policy.set_gradient_accumulation_steps(3);
         policy.set_max_staleness(2);
         policy.set_stale_scale(v1::STALE_SCALE_INVERSE);
       },
       {kA, kB, kC, TakenAt(kA, 1), kB, kC},
       2,
       {2.25f, -1.875f},
       {"a", "b", "c"},
       2},
  };
  return rules;
}

class RulesTest : public testing::ServedTest {
 protected:
  // Creates the session; `num_workers` workers, named by the letters of the alphabet, join it.
  void Create(v1::AggregationMode mode, void (*set)(v1::AggregationPolicy& policy),
              size_t num_workers) {
    v1::CreateSessionRequest request = VectorSession("s", 2);
    v1::AggregationPolicy& policy = *request.mutable_config()->mutable_aggregation();
    policy.set_mode(mode);
    set(policy);
    const grpc::Status created = wire_->Create(request);
    ASSERT_TRUE(created.ok()) << created.error_message();
    for (size_t index = 0; index < num_workers; ++index) {
      joined_.push_back(wire_->Join("s", std::string(1, static_cast<char>('a' + index))));
    }
    sequences_.assign(num_workers, 0);
  }

  // Contributes without waiting for other workers.
  v1::StepResponse Step(const Contribution& one) {
    const size_t index = static_cast<size_t>(one.worker[0] - 'a');
    v1::StepRequest request =
        StepOf("s", joined_[index], ++sequences_[index], one.base_version, one.gradient);
    request.mutable_header()->set_worker(one.worker);
    if (one.weight != 1) request.mutable_header()->set_weight(one.weight);
    request.mutable_header()->set_closes_round(one.closes_round);
    request.mutable_header()->set_abstain(one.abstains);
    if (one.abstains) request.clear_sections();
    request.mutable_reply()->set_return_pending(true);
    v1::StepResponse response;
    const grpc::Status status = wire_->Step(request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  v1::VersionRecord RecordOf(uint64_t version) {
    v1::ListVersionRecordsRequest request;
    request.set_session_id("s");
    request.set_after_version(version - 1);
    v1::ListVersionRecordsResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(wire_->sessions().ListVersionRecords(&context, request, &response).ok());
    EXPECT_EQ(response.records_size(), 1);
    return response.records_size() == 0 ? v1::VersionRecord() : response.records(0);
  }

  static std::vector<std::string> NamesOf(
      const google::protobuf::RepeatedPtrField<std::string>& names) {
    return {names.begin(), names.end()};
  }

  std::vector<v1::JoinResponse> joined_;
  std::vector<uint64_t> sequences_;
};

class EachRuleTest : public RulesTest, public ::testing::WithParamInterface<Rule> {};

TEST_P(EachRuleTest, MakesTheParametersWorkedOutByHand) {
  const Rule& rule = GetParam();
  Create(rule.mode, rule.set, rule.members.size() > 3 ? rule.members.size() : 3);
  for (const Contribution& one : rule.contributions) Step(one);
  v1::PullRequest pull;
  pull.set_session_id("s");
  pull.set_min_version(rule.version);
  std::vector<float> parameters;
  uint64_t version = 0;
  ASSERT_TRUE(wire_->Pull(pull, &parameters, &version).ok());
  EXPECT_EQ(version, rule.version);
  EXPECT_EQ(parameters, rule.parameters);
  const v1::VersionRecord record = RecordOf(version);
  std::vector<std::string> members;
  for (const v1::VersionMember& member : record.members()) members.push_back(member.worker());
  EXPECT_EQ(members, rule.members);
  EXPECT_EQ(record.total_weight(), rule.total_weight);
}

INSTANTIATE_TEST_SUITE_P(Rules, EachRuleTest, ::testing::ValuesIn(Rules()),
                         [](const auto& rule) { return rule.param.name; });

TEST_F(RulesTest, LateWorkersAreNamedInTheReplyAndInTheRecord) {
  Create(
      v1::AGGREGATION_MODE_SYNCHRONOUS,
      [](v1::AggregationPolicy& policy) {
        policy.set_close(v1::CLOSE_RULE_COUNT);
        policy.set_close_count(2);
      },
      3);
  const auto expect_late = [&](const v1::StepResponse& response, const std::string& name) {
    const std::vector<std::string> late = {name};
    EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
    EXPECT_EQ(response.report().num_late(), 1u);
    EXPECT_EQ(NamesOf(response.report().late_workers()), late);
    const v1::VersionRecord record = RecordOf(response.applied_version());
    EXPECT_EQ(record.num_late(), 1u);
    EXPECT_EQ(NamesOf(record.late_workers()), late);
  };
  EXPECT_EQ(Step(kA).verdict(), v1::VERDICT_PENDING);
  expect_late(Step(kB), "c");
  EXPECT_EQ(Step(kC).verdict(), v1::VERDICT_ROUND_CLOSED);
  EXPECT_EQ(Step(TakenAt(kC, 1)).verdict(), v1::VERDICT_PENDING);
  expect_late(Step(TakenAt(kA, 1)), "b");
}

TEST_F(RulesTest, AWorkerThatAbstainsGetsTheVersionThatWasMadeAndIsNamed) {
  Create(
      v1::AGGREGATION_MODE_SYNCHRONOUS, [](v1::AggregationPolicy&) {}, 3);
  // Over a stream, as header and commit, without waiting for a grant.
  v1::StepRequest abstention = StepOf("s", joined_[2], 1, 0, {});
  abstention.mutable_header()->set_worker("c");
  abstention.mutable_header()->set_abstain(true);
  abstention.clear_sections();
  testing::WireStream stream(wire_->training());
  ASSERT_TRUE(stream.WriteHeader(abstention));
  ASSERT_TRUE(stream.WriteCommit());
  while (wire_->Get("s").open_round().abstained().count() == 0)
    absl::SleepFor(absl::Milliseconds(1));
  const v1::OpenRound round = wire_->Get("s").open_round();
  EXPECT_EQ(NamesOf(round.abstained().names()), std::vector<std::string>{"c"});
  EXPECT_EQ(NamesOf(round.expected().names()), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(round.contributed().count(), 0u);
  EXPECT_EQ(Step(kA).verdict(), v1::VERDICT_PENDING);
  EXPECT_EQ(Step(kB).report().num_abstained(), 1u);
  v1::StepResponse answer;
  ASSERT_TRUE(stream.ReadReply(&answer));
  EXPECT_EQ(answer.verdict(), v1::VERDICT_ABSTAINED);
  EXPECT_EQ(answer.applied_version(), 1u);
  EXPECT_EQ(answer.data_version(), 1u);
  EXPECT_FALSE(answer.has_report());
  EXPECT_TRUE(stream.Finish().ok());
  const v1::VersionRecord record = RecordOf(1);
  EXPECT_EQ(record.num_abstained(), 1u);
  EXPECT_EQ(NamesOf(record.abstained_workers()), std::vector<std::string>{"c"});
  EXPECT_EQ(record.num_late(), 0u);
  // A repeat is told the same; it is another payload than a gradient.
  v1::StepResponse again;
  ASSERT_TRUE(wire_->Step(abstention, &again).ok());
  EXPECT_TRUE(again.replayed());
  EXPECT_EQ(again.verdict(), v1::VERDICT_ABSTAINED);
  v1::StepRequest other = StepOf("s", joined_[2], 1, 0, {0, 0});
  other.mutable_header()->set_worker("c");
  EXPECT_EQ(testing::ErrorOf(wire_->Step(other, &again)).reason, "SEQUENCE_REUSED");
}

TEST_F(RulesTest, IfAllWorkersAbstainNoVersionIsMade) {
  Create(
      v1::AGGREGATION_MODE_SYNCHRONOUS, [](v1::AggregationPolicy&) {}, 2);
  EXPECT_EQ(Step(Abstaining("a")).verdict(), v1::VERDICT_PENDING);
  EXPECT_EQ(Step(Abstaining("b")).verdict(), v1::VERDICT_ABSTAINED);
  EXPECT_EQ(wire_->Get("s").version(), 0u);
  EXPECT_FALSE(wire_->Get("s").has_open_round());
  EXPECT_EQ(Step(kA).verdict(), v1::VERDICT_PENDING);
  EXPECT_EQ(Step(kB).verdict(), v1::VERDICT_APPLIED);
}

}  // namespace
}  // namespace talweg
