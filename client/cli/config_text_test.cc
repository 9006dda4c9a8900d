// SPDX-License-Identifier: Apache-2.0
#include "client/cli/config_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/cli/arguments.h"
#include "client/cli/describe.h"

namespace talweg {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Complaint(const absl::Status& status) {
  EXPECT_TRUE(IsUsageError(status)) << status;
  return std::string(status.message());
}

TEST(ConfigTextTest, LayoutGoesBothWays) {
  const auto layout = ParseLayout("w:784,512 b:512  scale");
  ASSERT_TRUE(layout.ok()) << layout.status();
  ASSERT_EQ(layout->tensors_size(), 3);
  EXPECT_EQ(layout->tensors(0).name(), "w");
  EXPECT_THAT(layout->tensors(0).shape(), ElementsAre(784, 512));
  EXPECT_EQ(layout->tensors(2).shape_size(), 0);
  EXPECT_EQ(LayoutText(*layout, 8), "w:784,512 b:512 scale:scalar");
  EXPECT_EQ(LayoutText(ParseLayout("w 2:scalar").value(), 8), "w:scalar 2:scalar");
  EXPECT_EQ(LayoutText(*layout, 1), "w:784,512 ... 3 tensors");
  EXPECT_THAT(Complaint(ParseLayout("w:784x512").status()),
              HasSubstr("\"w:784x512\" is no tensor"));
  EXPECT_THAT(Complaint(ParseLayout("w:1:2").status()), HasSubstr("two colons"));
}

TEST(ConfigTextTest, SetsFieldsOfEveryKindByName) {
  v1::Adam adam;
  EXPECT_TRUE(SetField("beta1=0.8", adam).ok());
  EXPECT_TRUE(SetField("amsgrad=false", adam).ok());
  EXPECT_FALSE(adam.amsgrad());
  EXPECT_TRUE(SetField("amsgrad", adam).ok());
  EXPECT_TRUE(SetField("dialect=keras", adam).ok());
  EXPECT_EQ(adam.beta1(), 0.8);
  EXPECT_TRUE(adam.amsgrad());
  EXPECT_EQ(adam.dialect(), v1::DIALECT_KERAS);
  EXPECT_EQ(FieldsText(adam), "beta1=0.8 dialect=KERAS amsgrad=true");
  v1::Schedule schedule;
  EXPECT_TRUE(SetField("warmup_steps=10", schedule).ok());
  EXPECT_EQ(schedule.warmup_steps(), 10u);
}

TEST(ConfigTextTest, ShowsZerosButNothingUnset) {
  v1::StepReport report;
  report.set_contributors(1);
  EXPECT_EQ(
      FieldsText(report),
      "learning_rate=0 gradient_norm=0 update_norm=0 staleness=0 contributors=1 clip_factor=0 "
      "total_weight=0 num_late=0 num_losses_left_out=0 num_expired=0 num_non_finite=0 "
      "num_abstained=0");
}

TEST(ConfigTextTest, SaysWhichFieldsThereAre) {
  v1::Adam adam;
  EXPECT_EQ(Complaint(SetField("beta=0.8", adam)),
            "Adam has no field \"beta\"; it has: beta1, beta2, epsilon, dialect, amsgrad");
  EXPECT_EQ(Complaint(SetField("beta1=much", adam)), "\"much\" is no value of beta1 in Adam");
  EXPECT_EQ(Complaint(SetField("dialect=LATIN", adam)),
            "\"LATIN\" is no value of dialect in Adam; there are: TORCH, KERAS, PAPER, "
            "TUTORIAL, FEDERATED");
  EXPECT_EQ(Complaint(SetField("beta1", adam)), "beta1 in Adam needs a value: beta1=VALUE");
  v1::GradientDescent gradient_descent;
  EXPECT_THAT(Complaint(SetField("x=1", gradient_descent)), HasSubstr("it has: none"));
  v1::Schedule schedule;
  EXPECT_THAT(Complaint(SetField("cosine=1", schedule)), HasSubstr("no field \"cosine\""));
}

TEST(ConfigTextTest, SetsTheFieldsOfAPolicy) {
  v1::AggregationPolicy policy;
  const auto names = SetFields(
      "mode=SYNCHRONOUS,close=COUNT,close_count=3,too_few=close,close_seconds=0.5", policy);
  ASSERT_TRUE(names.ok()) << names.status();
  EXPECT_THAT(*names, ElementsAre("mode", "close", "close_count", "too_few", "close_seconds"));
  EXPECT_EQ(policy.mode(), v1::AGGREGATION_MODE_SYNCHRONOUS);
  EXPECT_EQ(policy.close(), v1::CLOSE_RULE_COUNT);
  EXPECT_EQ(policy.close_count(), 3u);
  EXPECT_EQ(policy.too_few(), v1::TOO_FEW_CLOSE);
  EXPECT_EQ(policy.close_seconds(), 0.5);
  EXPECT_EQ(Complaint(SetFields("mode=SOMETIMES", policy).status()),
            "\"SOMETIMES\" is no value of mode in AggregationPolicy; there are: ASYNCHRONOUS, "
            "SYNCHRONOUS, BOUNDED_STALENESS");
  EXPECT_THAT(Complaint(SetFields("closing=ALL", policy).status()), HasSubstr("it has: "));
  EXPECT_THAT(FieldNames(*v1::AggregationPolicy::descriptor()),
              HasSubstr("reduction (MEAN, TRIMMED_MEAN, MEDIAN), trim_fraction, "));
}

TEST(ConfigTextTest, AResolvedPolicyIsToldWithoutWhatItsModeDoesNotUse) {
  // Every default spelled out, as a server does.
  v1::AggregationPolicy policy;
  for (int i = 0; i < policy.GetDescriptor()->field_count(); ++i) {
    const auto& field = *policy.GetDescriptor()->field(i);
    const bool choice = field.cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_ENUM;
    ASSERT_TRUE(SetField(field.name() + "=" +
                             (choice ? field.enum_type()->value(1)->name().substr(
                                           field.enum_type()->value(0)->name().size() - 11)
                                     : "0"),
                         policy)
                    .ok())
        << field.name();
  }
  policy.set_lease_seconds(30);
  policy.set_gradient_accumulation_steps(1);
  policy.set_min_workers(1);
  EXPECT_EQ(PolicyText(policy),
            "mode=ASYNCHRONOUS max_staleness=0 lease_seconds=30 gradient_accumulation_steps=1");
  policy.set_mode(v1::AGGREGATION_MODE_BOUNDED_STALENESS);
  policy.set_max_rounds_ahead(2);
  EXPECT_EQ(PolicyText(policy),
            "mode=BOUNDED_STALENESS max_staleness=0 lease_seconds=30 max_rounds_ahead=2");
  policy.set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
  policy.set_max_rounds_ahead(0);
  EXPECT_EQ(
      PolicyText(policy),
      "mode=SYNCHRONOUS max_staleness=0 lease_seconds=30 close=ALL too_few=WAIT min_workers=1 "
      "reduction=MEAN reduce_order=ANY stale_scale=NONE");
}

TEST(ConfigTextTest, AZeroThatAResolvedPolicyUsesIsTold) {
  v1::AggregationPolicy policy;
  policy.set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
  policy.set_reduction(v1::REDUCTION_TRIMMED_MEAN);
  policy.set_max_rounds_ahead(0);
  EXPECT_EQ(SetFields("trim_fraction=0", policy)->size(), 1u);
  EXPECT_TRUE(policy.has_trim_fraction());
  EXPECT_THAT(PolicyText(policy), HasSubstr(" reduction=TRIMMED_MEAN trim_fraction=0"));
  EXPECT_THAT(PolicyText(policy), Not(HasSubstr("max_rounds_ahead")));
  policy.set_mode(v1::AGGREGATION_MODE_BOUNDED_STALENESS);
  EXPECT_THAT(PolicyText(policy), HasSubstr(" max_rounds_ahead=0"));
}

TEST(ConfigTextTest, ChoosesACaseWithItsFields) {
  v1::Schedule schedule;
  const auto name = SetCase("cosine:total_steps=100,final_fraction=0.1", "decay", schedule);
  ASSERT_TRUE(name.ok()) << name.status();
  EXPECT_EQ(name->name, "cosine");
  EXPECT_THAT(name->fields, ElementsAre("total_steps", "final_fraction"));
  EXPECT_EQ(schedule.cosine().total_steps(), 100u);
  EXPECT_EQ(CaseName(schedule, "decay"), "cosine");
  EXPECT_EQ(CaseText(schedule, "decay"), "cosine total_steps=100 final_fraction=0.1");
  EXPECT_EQ(CaseText(v1::Schedule(), "decay"), "");
  EXPECT_EQ(Complaint(SetCase("cosinus", "decay", schedule).status()),
            "no decay \"cosinus\"; there are: constant, inverse_sqrt, step, cosine, polynomial");
  // A field outside the oneof is no case.
  EXPECT_TRUE(IsUsageError(SetCase("learning_rate", "decay", schedule).status()));
  EXPECT_TRUE(IsUsageError(SetCase("cosine:steps=1", "decay", schedule).status()));
}

TEST(ConfigTextTest, InitRulesKeepTheirOrder) {
  v1::SeededValues values;
  const absl::Status parsed =
      ParseInit("w*=kaiming:gain=2,gaussian=true b*=constant:0.5 *=normal", values);
  ASSERT_TRUE(parsed.ok()) << parsed;
  ASSERT_EQ(values.rules_size(), 3);
  EXPECT_EQ(values.rules(0).tensors(), "w*");
  EXPECT_EQ(values.rules(0).kaiming().gain(), 2);
  EXPECT_TRUE(values.rules(0).kaiming().gaussian());
  EXPECT_EQ(values.rules(1).constant().value(), 0.5);
  EXPECT_TRUE(values.rules(2).has_normal());
  EXPECT_THAT(Complaint(ParseInit("w", values)), HasSubstr("expected TENSORS=DISTRIBUTION"));
  EXPECT_THAT(Complaint(ParseInit("w=kaimin", values)), HasSubstr("no distribution \"kaimin\""));
}

TEST(ConfigTextTest, BareValuesFillTheFieldsInTheirOrder) {
  v1::SeededValues values;
  ASSERT_TRUE(ParseInit("w=normal:0.5,0.02 k=kaiming:gaussian", values).ok());
  EXPECT_EQ(values.rules(0).normal().mean(), 0.5);
  EXPECT_EQ(values.rules(0).normal().standard_deviation(), 0.02);
  EXPECT_FALSE(values.rules(1).kaiming().has_gain());
  EXPECT_TRUE(values.rules(1).kaiming().gaussian());
  v1::Schedule schedule;
  const auto decay = SetCase("polynomial:1000,2", "decay", schedule);
  ASSERT_TRUE(decay.ok()) << decay.status();
  EXPECT_THAT(decay->fields, ElementsAre("total_steps", "power"));
  EXPECT_EQ(schedule.polynomial().total_steps(), 1000u);
  EXPECT_EQ(schedule.polynomial().power(), 2u);
  v1::Optimizer optimizer;
  ASSERT_TRUE(SetCase("adam:0.8,0.9,dialect=KERAS,amsgrad", "method", optimizer).ok());
  EXPECT_EQ(FieldsText(optimizer.adam()), "beta1=0.8 beta2=0.9 dialect=KERAS amsgrad=true");
  EXPECT_EQ(Complaint(SetCase("cosine:1,2,3", "decay", schedule).status()),
            "CosineSchedule has no field for the value \"3\"; it has: total_steps, final_fraction");
  EXPECT_EQ(Complaint(SetCase("gradient_descent:1", "method", optimizer).status()),
            "GradientDescent has no field for the value \"1\"; it has: none");
  EXPECT_THAT(Complaint(SetCase("cosine:final_fraction=0.1,100", "decay", schedule).status()),
              HasSubstr("\"100\" must stand before the fields with a name"));
}

TEST(ConfigTextTest, NoFieldIsTakenTwice) {
  v1::Schedule schedule;
  EXPECT_EQ(Complaint(SetCase("cosine:total_steps=1,total_steps=2", "decay", schedule).status()),
            "total_steps is given twice");
  EXPECT_EQ(Complaint(SetCase("cosine:1,total_steps=2", "decay", schedule).status()),
            "total_steps is given twice");
  v1::AggregationPolicy policy;
  EXPECT_EQ(Complaint(SetFields("close=ALL,close=COUNT", policy).status()), "close is given twice");
  v1::SessionConfig config;
  EXPECT_EQ(Complaint(ParseGroups("b=frozen,frozen:false", config)), "frozen is given twice");
  v1::SeededValues values;
  EXPECT_EQ(Complaint(ParseInit("w=normal:mean=1,mean=2", values)), "mean is given twice");
}

TEST(ConfigTextTest, GroupsGoBothWays) {
  v1::SessionConfig config;
  const std::string text = "bias*=decay_factor:0 embed=learning_rate_factor:0.1,frozen rest=";
  ASSERT_TRUE(ParseGroups(text, config).ok());
  ASSERT_EQ(config.groups_size(), 3);
  EXPECT_EQ(config.groups(0).tensors(), "bias*");
  EXPECT_TRUE(config.groups(0).has_decay_factor());
  EXPECT_EQ(config.groups(0).decay_factor(), 0);
  EXPECT_EQ(config.groups(1).learning_rate_factor(), 0.1);
  EXPECT_TRUE(config.groups(1).frozen());
  EXPECT_EQ(GroupsText(config, 8), text);
  // What the server spells out is left out again.
  config.mutable_groups(0)->set_learning_rate_factor(1);
  config.mutable_groups(0)->set_max_norm(0);
  config.mutable_groups(0)->set_frozen(false);
  config.mutable_groups(1)->set_max_value(0.5);
  EXPECT_EQ(GroupsText(config, 2),
            "bias*=decay_factor:0 embed=learning_rate_factor:0.1,max_value:0.5,frozen "
            "... 3 groups");
}

TEST(ConfigTextTest, BadGroupsSayWhatIsKnown) {
  v1::SessionConfig config;
  EXPECT_THAT(Complaint(ParseGroups("bias", config)), HasSubstr("expected TENSORS=SETTINGS"));
  EXPECT_EQ(Complaint(ParseGroups("b=rate:2", config)),
            "ParameterGroup has no field \"rate\"; it has: " + GroupSettings());
  EXPECT_THAT(Complaint(ParseGroups("b=tensors:2", config)), HasSubstr("no field \"tensors\""));
  EXPECT_THAT(Complaint(ParseGroups("b=frozen:maybe", config)), HasSubstr("no value of frozen"));
  EXPECT_THAT(Complaint(ParseGroups("b=max_norm", config)), HasSubstr("needs a value: max_norm="));
}

TEST(DescribeTest, SettingsOfAStepAreShownWhereThereAreAny) {
  v1::Session session;
  EXPECT_THAT(SessionTable(session), Not(HasSubstr("clipping")));
  EXPECT_THAT(SessionTable(session), Not(HasSubstr("groups")));
  session.mutable_config()->mutable_clipping()->set_max_norm(2);
  session.mutable_config()->mutable_weight_decay()->set_decoupled(0.01);
  session.mutable_config()->mutable_average()->set_decay(0.999);
  ASSERT_TRUE(ParseGroups("b=frozen", *session.mutable_config()).ok());
  const std::string table = SessionTable(session);
  EXPECT_THAT(table, HasSubstr("max_norm=2"));
  EXPECT_THAT(table, HasSubstr("decoupled=0.01"));
  EXPECT_THAT(table, HasSubstr("decay=0.999"));
  EXPECT_THAT(table, HasSubstr("b=frozen"));
}

TEST(DescribeTest, ASessionTellsItsPolicyAndItsLiveWorkers) {
  v1::Session session;
  ASSERT_TRUE(SetFields("mode=SYNCHRONOUS,close=DEADLINE,close_seconds=2.5",
                        *session.mutable_config()->mutable_aggregation())
                  .ok());
  session.set_num_workers(5);
  session.set_num_live_workers(4);
  const std::string table = SessionTable(session);
  EXPECT_THAT(table, HasSubstr("mode=SYNCHRONOUS"));
  EXPECT_THAT(table, HasSubstr("close=DEADLINE close_seconds=2.5"));
  EXPECT_THAT(table, HasSubstr("5 joined, 4 live"));
}

TEST(DescribeTest, AVersionTellsWhoMadeItAndWhoWasLate) {
  EXPECT_EQ(VersionRecordsTable({}), "no records\n");
  v1::VersionRecord record;
  record.set_version(1200);
  record.mutable_open_time()->set_seconds(1000000000);
  record.mutable_open_time()->set_nanos(250000000);
  record.mutable_close_time()->set_seconds(1000000002);
  record.set_total_weight(96.5);
  for (const char* worker : {"w0", "w1", "w2", "w3", "w4", "w5"}) {
    v1::VersionMember& member = *record.add_members();
    member.set_worker(worker);
    member.set_base_version(1199);
  }
  record.mutable_members(2)->set_base_version(1196);
  record.set_num_late(2);
  record.add_late_workers("slow");
  record.add_late_workers("slower");
  EXPECT_EQ(VersionRecordsTable({record}),
            "version  opened                   seconds  weight  staleness  contributors        "
            "late\n"
            "  1,200  2001-09-09 01:46:40 UTC    1.750    96.5          3  6: w0 w1 w2 w3 ...  "
            "2: slow slower\n");
  record.set_num_expired(1);
  record.add_expired_workers("gone");
  EXPECT_THAT(VersionRecordsTable({record}), HasSubstr("2: slow slower  1: gone\n"));
  StepResult result;
  result.verdict = v1::VERDICT_APPLIED;
  result.report.emplace().set_num_late(1);
  result.report->add_late_workers("slow");
  EXPECT_THAT(StepTable(result), HasSubstr("1: slow\n"));
  result.report->set_num_late(2);
  EXPECT_THAT(StepTable(result), HasSubstr("2: slow ...\n"));
}

TEST(DescribeTest, PendingContributionWaitsForItsVersion) {
  StepResult result;
  result.verdict = v1::VERDICT_PENDING;
  result.applied_version = 7;
  EXPECT_THAT(StepTable(result), HasSubstr("PENDING"));
  EXPECT_THAT(StepTable(result), HasSubstr("waits for version"));
}

}  // namespace
}  // namespace talweg
