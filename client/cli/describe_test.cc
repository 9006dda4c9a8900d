// SPDX-License-Identifier: Apache-2.0
#include "client/cli/describe.h"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(DescribeTest, VerdictsAreNamedAndUnknownOnesNumbered) {
  EXPECT_EQ(VerdictText(v1::VERDICT_APPLIED), "APPLIED");
  EXPECT_EQ(VerdictText(static_cast<v1::Verdict>(9)), "verdict 9");
}

// A resolved configuration in which every section says something.
v1::Session FullSession() {
  v1::Session session;
  session.set_session_id("mlp");
  session.set_history(7);
  session.set_version(3);
  v1::SessionConfig& config = *session.mutable_config();
  v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
  tensor.set_name("w");
  tensor.add_shape(2);
  tensor.add_shape(3);
  v1::Momentum& momentum = *config.mutable_optimizer()->mutable_momentum();
  momentum.set_beta(0.5);
  momentum.set_dialect(v1::DIALECT_TORCH);
  config.mutable_schedule()->set_learning_rate(0.1);
  config.mutable_schedule()->set_warmup_steps(2);
  config.mutable_schedule()->mutable_cosine()->set_total_steps(10);
  config.mutable_aggregation()->set_mode(v1::AGGREGATION_MODE_ASYNCHRONOUS);
  config.mutable_aggregation()->set_max_staleness(3);
  config.mutable_aggregation()->set_lease_seconds(30);
  config.mutable_clipping()->set_max_norm(1.5);
  config.mutable_clipping()->set_max_value(0);
  config.mutable_weight_decay()->set_coupled(0);
  config.mutable_weight_decay()->set_decoupled(0.01);
  config.mutable_average()->set_decay(0.75);
  v1::ParameterGroup& group = *config.add_groups();
  group.set_tensors("w*");
  group.set_frozen(true);
  return session;
}

// The rows of the table, without the spaces between heading and text.
std::vector<std::string> RowsOf(const v1::Session& session) {
  std::vector<std::string> rows;
  const std::string table = SessionTable(session);
  for (const absl::string_view line : absl::StrSplit(table, '\n', absl::SkipWhitespace())) {
    const size_t gap = line.find("  ");
    if (gap == absl::string_view::npos) continue;
    const absl::string_view text = absl::StripAsciiWhitespace(line.substr(gap));
    rows.push_back(absl::StrCat(line.substr(0, gap), ": ", text));
  }
  return rows;
}

TEST(DescribeTest, EverySectionOfAConfigurationIsARow) {
  EXPECT_THAT(
      RowsOf(FullSession()),
      ElementsAre("session: mlp", "version: 3", "history: 7",
                  "optimizer: momentum beta=0.5 dialect=TORCH",
                  "schedule: learning_rate=0.1 warmup_steps=2  cosine total_steps=10",
                  "policy: mode=ASYNCHRONOUS max_staleness=3 lease_seconds=30 "
                  "gradient_accumulation_steps=0",
                  "clipping: max_norm=1.5 max_value=0", "weight decay: coupled=0 decoupled=0.01",
                  "average: decay=0.75", "groups: w*=frozen", "layout: w:2,3", "elements: 0",
                  "memory: 0 bytes", "workers: 0 joined, 0 live", "config version: 0",
                  "created: 1970-01-01 00:00:00 UTC"));
}

TEST(DescribeTest, SectionsThatSayNothingAreLeftOut) {
  v1::Session session = FullSession();
  session.mutable_config()->mutable_clipping()->set_max_norm(0);
  session.mutable_config()->mutable_weight_decay()->set_decoupled(0);
  session.mutable_config()->mutable_average()->set_decay(0);
  session.mutable_config()->clear_groups();
  EXPECT_THAT(
      RowsOf(session),
      ElementsAre("session: mlp", "version: 3", "history: 7",
                  "optimizer: momentum beta=0.5 dialect=TORCH",
                  "schedule: learning_rate=0.1 warmup_steps=2  cosine total_steps=10",
                  "policy: mode=ASYNCHRONOUS max_staleness=3 lease_seconds=30 "
                  "gradient_accumulation_steps=0",
                  "layout: w:2,3", "elements: 0", "memory: 0 bytes", "workers: 0 joined, 0 live",
                  "config version: 0", "created: 1970-01-01 00:00:00 UTC"));
}

TEST(DescribeTest, ASearchTellsOfGenerationsThatWereGivenUp) {
  v1::Session session = FullSession();
  session.mutable_config()->mutable_search()->set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  session.mutable_config()->mutable_search()->set_differences(v1::DIFFERENCES_ONE_SIDED);
  session.mutable_config()->mutable_search()->set_baseline(v1::BASELINE_NONE);
  session.mutable_last_step()->mutable_search()->set_sigma(0.5f);
  v1::OpenGeneration& open = *session.mutable_open_generation();
  open.set_generation(8069);
  open.set_version(3);
  open.set_num_pairs(8);
  EXPECT_THAT(RowsOf(session), ::testing::Not(::testing::Contains(::testing::HasSubstr("given"))));
  open.set_num_given_up(8068);
  open.set_num_given_up_non_finite(64544);
  const std::string told =
      "8,068 generations since version 3, without the losses that a step needs; 64,544 losses were "
      "not finite";
  EXPECT_THAT(RowsOf(session), ::testing::Contains("given up: " + told));
  EXPECT_THAT(OpenWorkLine(*OpenWorkOf(session)), ::testing::HasSubstr("; given up: " + told));
  EXPECT_THAT(RowsOf(session),
              ::testing::Contains(::testing::AllOf(::testing::HasSubstr("last generation: "),
                                                   ::testing::HasSubstr("sigma=0.5"))));
  // What it is compared with is told also if that is nothing.
  EXPECT_THAT(RowsOf(session), ::testing::Contains(::testing::HasSubstr("baseline=NONE")));
}

TEST(DescribeTest, AVerdictThatRefusesIsAnErrorThatNamesIt) {
  EXPECT_TRUE(VerdictError(v1::VERDICT_APPLIED).ok());
  EXPECT_TRUE(VerdictError(v1::VERDICT_PENDING).ok());  // waits in an open round
  EXPECT_EQ(VerdictError(v1::VERDICT_ROUND_CLOSED).message(),
            "the contribution was refused: ROUND_CLOSED");
  EXPECT_FALSE(VerdictError(v1::VERDICT_TOO_STALE).ok());
  EXPECT_FALSE(VerdictError(v1::VERDICT_REJECTED_NON_FINITE).ok());
  EXPECT_FALSE(VerdictError(v1::VERDICT_UNSPECIFIED).ok());
  EXPECT_FALSE(VerdictError(static_cast<v1::Verdict>(9)).ok());
}

// Two tensors, "w" with four elements and "b" with two.
v1::Layout TwoTensors() {
  v1::Layout layout;
  for (const auto& [name, size] : {std::pair{"w", 4}, {"b", 2}}) {
    v1::Tensor& tensor = *layout.add_tensors();
    tensor.set_name(name);
    tensor.add_shape(size);
  }
  return layout;
}

TEST(DescribeTest, AVersionThatIsNotFiniteIsAnError) {
  StepResult result;
  result.verdict = v1::VERDICT_APPLIED;
  result.applied_version = 4;
  result.report.emplace();
  EXPECT_TRUE(StepError(result, TwoTensors()).ok());
  result.report->set_num_non_finite(1200);
  result.report->set_first_non_finite(5);
  EXPECT_EQ(StepError(result, TwoTensors()).message(),
            "version 4 has 1,200 parameters that are not finite, first element 1 of tensor b: go "
            "back to older parameters, and take a smaller rate");
  StepResult refused;
  refused.verdict = v1::VERDICT_TOO_STALE;
  EXPECT_FALSE(StepError(refused, TwoTensors()).ok());
}

TEST(DescribeTest, ParametersThatCameAreSearchedForWhatIsNoOverflow) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const v1::Layout layout = TwoTensors();
  const auto told = [&](std::vector<float> parameters, uint64_t num = 0, uint64_t first = 0) {
    return std::string(NonFiniteError(parameters, num, first, layout).message());
  };
  EXPECT_EQ(told({1, 2, 3, 4, 5, 6}), "");
  EXPECT_EQ(told({}), "");
  EXPECT_EQ(
      told({1, 2, 3, 4, 5, -kInfinity}),
      "parameters that came are not finite on the server, first element 1 of tensor b (-inf): "
      "go back to older parameters, and take a smaller rate");
  EXPECT_THAT(told({1, -kNan, 3, 4, 5, kInfinity}), HasSubstr("first element 1 of tensor w (nan)"));
  // OverflowError tells of overflows.
  EXPECT_EQ(told({1, 2, kInfinity, 4, kInfinity, 6}, 2, 2), "");
  EXPECT_THAT(told({kInfinity, 2, kInfinity, 4, 5, 6}, 1, 2), HasSubstr("element 0 of tensor w"));
  EXPECT_THAT(told({1, 2, kInfinity, kNan, 5, 6}, 1, 2), HasSubstr("element 3 of tensor w (nan)"));
}

TEST(DescribeTest, ARefusalTellsWhereAndWhatToChange) {
  StepResult result;
  result.verdict = v1::VERDICT_REJECTED_NON_FINITE;
  result.fault.emplace().set_tensor("w");
  result.fault->set_element(3);
  EXPECT_THAT(StepTable(result), HasSubstr("tensor w, element 3\n"));
  result.fault->set_may_have_overflowed(true);
  EXPECT_THAT(StepTable(result), HasSubstr("element 3: infinite in float16"));
  result.missed_rounds = 4;
  result.advice = "send heartbeats";
  EXPECT_THAT(StepTable(result), HasSubstr("4 in a row\n"));
  EXPECT_THAT(StepTable(result), HasSubstr("send heartbeats\n"));
}

// "waits for: 2: b c".
std::string RoundText(const v1::OpenRound& round) {
  std::vector<std::string> lines;
  for (const auto& [name, text] : OpenRoundTexts(round)) {
    lines.push_back(absl::StrCat(name, ": ", text));
  }
  return absl::StrJoin(lines, "\n");
}

TEST(DescribeTest, AnOpenRoundTellsWhoIsWaitedForAndWhatClosesIt) {
  v1::OpenRound round;
  round.set_version(8);
  round.set_open_seconds(3.14);
  round.mutable_contributed()->set_count(1);
  round.mutable_contributed()->add_names("a");
  round.mutable_expected()->set_count(6);
  for (const char* name : {"b", "c", "d", "e", "f", "g"}) round.mutable_expected()->add_names(name);
  round.mutable_late()->set_count(1);
  round.mutable_late()->add_names("z");
  round.mutable_will_not_count()->set_count(1);
  round.mutable_will_not_count()->add_names("a");
  round.set_close(v1::CLOSE_RULE_DEADLINE);
  round.set_closes_in_seconds(1.5);
  EXPECT_EQ(RoundText(round),
            "open round: makes version 8, for 3.1 s\n"
            "contributed: 1: a\n"
            "waits for: 6: b c d e ...\n"
            "late in it: 1: z\n"
            "will not count: 1: a\n"
            "closes: DEADLINE, in 1.5 s at the latest");
}

TEST(DescribeTest, AnOpenRoundFitsOnALine) {
  v1::OpenRound round;
  round.set_version(8);
  round.set_open_seconds(12.3);
  round.mutable_contributed()->set_count(2);
  for (const char* name : {"a", "b"}) round.mutable_contributed()->add_names(name);
  round.mutable_expected()->set_count(1);
  round.mutable_expected()->add_names("c");
  round.set_close(v1::CLOSE_RULE_ALL);
  EXPECT_EQ(OpenRoundLine(round),
            "waiting  round 8: 2 of 3 contributed (a b), expected: c, since 12 s, closes when all "
            "have contributed");
  round.mutable_expected()->set_count(6);
  round.mutable_late()->set_count(1);
  round.mutable_late()->add_names("z");
  round.set_close(v1::CLOSE_RULE_COUNT);
  round.set_num_contributions(2);
  round.set_needed_contributions(4);
  EXPECT_EQ(OpenRoundLine(round),
            "waiting  round 8: 2 of 8 contributed (a b), expected: c ..., late: z, since 12 s, "
            "closes: COUNT, 2 of 4 contributions");
}

TEST(DescribeTest, AnOpenRoundWithoutAClosingRuleSaysOnItsLineWhatIsKnown) {
  v1::OpenRound round;  // of the mode BOUNDED_STALENESS
  round.set_version(3);
  round.mutable_expected()->set_count(1);
  round.mutable_expected()->add_names("slow");
  EXPECT_EQ(OpenRoundLine(round), "waiting  round 3: 0 contributed, expected: slow");
  round.set_needed_contributions(1);
  EXPECT_EQ(OpenRoundLine(round),
            "waiting  round 3: 0 contributed, expected: slow, closes: 0 of 1 contributions");
}

TEST(DescribeTest, AVersionTellsWhereItsClosingRuleCameFromIfItIsNotItsOwn) {
  std::vector<v1::VersionRecord> records(2);
  for (v1::VersionRecord& record : records) record.set_config_version(1);
  EXPECT_EQ(VersionRecordsTable(records).find("closing rule"), std::string::npos);
  records[1].set_close_config_version(4);
  const std::vector<std::string> lines = absl::StrSplit(VersionRecordsTable(records), '\n');
  EXPECT_TRUE(absl::EndsWith(lines[0], "  closing rule of")) << lines[0];
  EXPECT_EQ(lines[1].find("configuration"), std::string::npos) << lines[1];
  EXPECT_TRUE(absl::EndsWith(lines[2], "  configuration 4")) << lines[2];
}

TEST(DescribeTest, AStuckRoundSaysWhatWouldFreeIt) {
  v1::OpenRound round;
  round.set_version(1);
  round.set_close(v1::CLOSE_RULE_COUNT);
  round.set_too_few(v1::TOO_FEW_WAIT);
  round.set_num_contributions(2);
  round.set_needed_contributions(4);
  EXPECT_EQ(RoundText(round),
            "open round: makes version 1\n"
            "closes: COUNT, 2 of 4 contributions, nobody else is expected: more workers must join, "
            "or the policy change");
  // A changed rule that is met closes the round at once: nobody need do anything.
  round.set_needed_contributions(2);
  EXPECT_EQ(RoundText(round),
            "open round: makes version 1\n"
            "closes: COUNT, 2 of 2 contributions");
}

TEST(DescribeTest, AStepThatWillNotCountSaysSo) {
  StepResult result;
  result.verdict = v1::VERDICT_PENDING;
  result.will_not_count = true;
  EXPECT_NE(StepTable(result).find("PENDING, will not count"), std::string::npos);
  result.will_not_count = false;
  EXPECT_EQ(StepTable(result).find("will not count"), std::string::npos);
}

TEST(DescribeTest, ASessionTellsItsOpenRound) {
  v1::Session session;
  EXPECT_EQ(SessionTable(session).find("open round"), std::string::npos);
  session.mutable_open_round()->set_version(8);
  EXPECT_NE(SessionTable(session).find("open round"), std::string::npos);
}

}  // namespace
}  // namespace talweg
