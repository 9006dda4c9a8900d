// SPDX-License-Identifier: Apache-2.0
#include "client/cli/typed_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/arguments.h"
#include "client/cli/config_text.h"

namespace talweg {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Complaint(const absl::Status& status) {
  EXPECT_TRUE(IsUsageError(status)) << status;
  return std::string(status.message());
}

TEST(TypedConfigTest, LayoutGoesBothWays) {
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

TEST(TypedConfigTest, SetsFieldsOfEveryKindByName) {
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

TEST(TypedConfigTest, SaysWhichFieldsThereAre) {
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

TEST(TypedConfigTest, SetsTheFieldsOfAPolicy) {
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

TEST(TypedConfigTest, SetsTheFieldsOfASearch) {
  v1::SearchPolicy policy;
  const auto names = SetFields(
      "method=evolution_strategy,num_pairs=50,sigma=0.05,seed=9007199254740991,noise=RADEMACHER,"
      "perturbation=LOW_RANK,rank=4,shaping=CENTERED_RANKS,non_finite=WORST",
      policy);
  ASSERT_TRUE(names.ok()) << names.status();
  EXPECT_THAT(*names, ElementsAre("method", "num_pairs", "sigma", "seed", "noise", "perturbation",
                                  "rank", "shaping", "non_finite"));
  EXPECT_EQ(policy.method(), v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  EXPECT_EQ(policy.num_pairs(), 50u);
  EXPECT_EQ(policy.sigma(), 0.05);
  EXPECT_EQ(policy.seed(), 9007199254740991u);
  EXPECT_EQ(policy.noise(), v1::NOISE_SCHEME_RADEMACHER);
  EXPECT_EQ(policy.perturbation(), v1::PERTURBATION_LOW_RANK);
  EXPECT_EQ(policy.rank(), 4u);
  EXPECT_EQ(policy.shaping(), v1::SHAPING_CENTERED_RANKS);
  EXPECT_EQ(policy.non_finite(), v1::NON_FINITE_WORST);
  EXPECT_EQ(Complaint(SetFields("method=ANNEALING", policy).status()),
            "\"ANNEALING\" is no value of method in SearchPolicy; there are: NONE, "
            "EVOLUTION_STRATEGY, RANDOM_SEARCH");
  EXPECT_THAT(Complaint(SetFields("pairs=50", policy).status()),
              AllOf(HasSubstr("SearchPolicy has no field \"pairs\"; it has: method"),
                    HasSubstr("num_pairs")));
  EXPECT_EQ(Complaint(SetFields("num_pairs=-1", policy).status()),
            "\"-1\" is no value of num_pairs in SearchPolicy");
  EXPECT_EQ(Complaint(SetFields("sigma=wide", policy).status()),
            "\"wide\" is no value of sigma in SearchPolicy");
  EXPECT_THAT(FieldNames(*v1::SearchPolicy::descriptor()),
              HasSubstr("perturbation (DENSE, LOW_RANK), rank, num_pairs, "));
}

TEST(TypedConfigTest, ChoosesACaseWithItsFields) {
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

TEST(TypedConfigTest, InitRulesKeepTheirOrder) {
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

TEST(TypedConfigTest, BareValuesFillTheFieldsInTheirOrder) {
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

TEST(TypedConfigTest, AnEmptyPlaceDoesNotLetTheNextValueSlideForward) {
  constexpr char kAdvice[] =
      " is empty: to leave a field out, name those that follow, as in FIELD=VALUE";
  v1::Optimizer optimizer;
  for (const auto& [text, place] : {std::pair{",0.9", 1},
                                    {"0.8,,0.9", 2},
                                    {"0.8, ,0.9", 2},
                                    {"0.8,", 2},
                                    {",", 1},
                                    {"beta2=0.9,,amsgrad", 2}}) {
    EXPECT_EQ(Complaint(SetCase(absl::StrCat("adam:", text), "method", optimizer).status()),
              absl::StrCat("the value at place ", place, " of \"", text, "\"", kAdvice));
  }
  v1::Schedule schedule;
  EXPECT_THAT(Complaint(SetCase("cosine:,0.1", "decay", schedule).status()),
              HasSubstr("the value at place 1 of \",0.1\" is empty"));
  v1::SeededValues values;
  EXPECT_THAT(Complaint(ParseInit("w=normal:,0.02", values)),
              HasSubstr("the value at place 1 of \",0.02\" is empty"));
  v1::AggregationPolicy policy;
  EXPECT_THAT(Complaint(SetFields("close=ALL,,close_count=2", policy).status()),
              HasSubstr("the value at place 2 of \"close=ALL,,close_count=2\" is empty"));
  v1::SessionConfig config;
  EXPECT_THAT(Complaint(ParseGroups("b=frozen,,decay_factor:0", config)),
              HasSubstr("the value at place 2"));
  // With nothing behind the colon or the equals sign, no place is empty.
  EXPECT_TRUE(SetCase("adam:", "method", optimizer).ok());
  EXPECT_TRUE(ParseGroups("b=", config).ok());
  EXPECT_TRUE(SetFields("", policy).ok());
}

TEST(TypedConfigTest, NoFieldIsTakenTwice) {
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

TEST(TypedConfigTest, GroupsGoBothWays) {
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

TEST(TypedConfigTest, BadGroupsSayWhatIsKnown) {
  v1::SessionConfig config;
  EXPECT_THAT(Complaint(ParseGroups("bias", config)), HasSubstr("expected TENSORS=SETTINGS"));
  EXPECT_EQ(Complaint(ParseGroups("b=rate:2", config)),
            "ParameterGroup has no field \"rate\"; it has: " + GroupSettings());
  EXPECT_THAT(Complaint(ParseGroups("b=tensors:2", config)), HasSubstr("no field \"tensors\""));
  EXPECT_THAT(Complaint(ParseGroups("b=frozen:maybe", config)), HasSubstr("no value of frozen"));
  EXPECT_THAT(Complaint(ParseGroups("b=max_norm", config)), HasSubstr("needs a value: max_norm="));
}

}  // namespace
}  // namespace talweg
