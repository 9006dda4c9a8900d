// SPDX-License-Identifier: Apache-2.0
//
// Live changes: which fields a mask takes from the wanted configuration.
#include <functional>
#include <string>
#include <vector>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "server/wire/config_from_proto.h"
#include "server/wire/config_testing.h"

namespace talweg::server {
namespace {

using ::testing::HasSubstr;

using google::protobuf::util::MessageDifferencer;

class MergeConfigTest : public ::testing::Test {
 protected:
  MergeConfigTest() : current_(*ConfigFromProto(Current())) {}

  static v1::SessionConfig Current() {
    v1::SessionConfig config = Minimal();
    config.mutable_optimizer()->mutable_adam()->set_beta1(0.5);
    config.mutable_optimizer()->mutable_adam()->set_beta2(0.6);
    config.mutable_schedule()->mutable_cosine()->set_total_steps(100);
    config.mutable_schedule()->mutable_cosine()->set_final_fraction(0.25);
    config.mutable_aggregation()->set_max_staleness(3);
    return config;
  }

  absl::StatusOr<core::SessionConfig> Merge(const std::vector<std::string>& paths) const {
    google::protobuf::FieldMask mask;
    for (const std::string& path : paths) mask.add_paths(path);
    return MergeConfig(current_, wanted_, mask);
  }

  // The current configuration after `change`, as the wire echoes it, is what the merge gives.
  void ExpectMerged(const std::vector<std::string>& paths,
                    const std::function<void(v1::SessionConfig&)>& change) const {
    const absl::StatusOr<core::SessionConfig> merged = Merge(paths);
    ASSERT_TRUE(merged.ok()) << merged.status();
    v1::SessionConfig expected = ConfigToProto(current_);
    change(expected);
    const v1::SessionConfig echoed = ConfigToProto(*merged);
    EXPECT_TRUE(MessageDifferencer::Equals(echoed, expected)) << echoed.DebugString();
  }

  const core::SessionConfig current_;
  v1::SessionConfig wanted_;
};

TEST_F(MergeConfigTest, TakesTheNamedFieldAndNoOther) {
  wanted_.mutable_schedule()->set_learning_rate(0.75);
  wanted_.mutable_schedule()->set_warmup_steps(9);
  wanted_.mutable_aggregation()->set_max_staleness(8);
  ExpectMerged({"schedule.learning_rate"},
               [](auto& config) { config.mutable_schedule()->set_learning_rate(0.75); });
  ExpectMerged({"schedule.learning_rate", "aggregation.max_staleness"}, [](auto& config) {
    config.mutable_schedule()->set_learning_rate(0.75);
    config.mutable_aggregation()->set_max_staleness(8);
  });
  wanted_.mutable_optimizer()->mutable_adam()->set_beta1(0.125);
  ExpectMerged({"optimizer.adam.beta1"},
               [](auto& config) { config.mutable_optimizer()->mutable_adam()->set_beta1(0.125); });
}

TEST_F(MergeConfigTest, WholeMessageReplacesWhatWasThere) {
  wanted_.mutable_schedule()->set_learning_rate(0.75);
  ExpectMerged({"schedule"}, [](auto& config) {
    config.mutable_schedule()->set_learning_rate(0.75);
    config.mutable_schedule()->mutable_constant();
  });
  wanted_.mutable_optimizer()->mutable_adam()->set_beta2(0.7);
  ExpectMerged({"optimizer.adam"}, [](auto& config) {
    config.mutable_optimizer()->mutable_adam()->set_beta1(0.9);
    config.mutable_optimizer()->mutable_adam()->set_beta2(0.7);
  });
}

TEST_F(MergeConfigTest, AnotherDecayReplacesTheOld) {
  wanted_.mutable_schedule()->mutable_step()->set_period_steps(10);
  ExpectMerged({"schedule.step"}, [](auto& config) {
    config.mutable_schedule()->mutable_step()->set_period_steps(10);
    config.mutable_schedule()->mutable_step()->set_factor(0.1);
  });
}

TEST_F(MergeConfigTest, PathThatIsUnsetReturnsToItsDefault) {
  ExpectMerged({"optimizer.adam.beta1"},
               [](auto& config) { config.mutable_optimizer()->mutable_adam()->set_beta1(0.9); });
  ExpectMerged({"schedule.cosine.final_fraction"}, [](auto& config) {
    config.mutable_schedule()->mutable_cosine()->set_final_fraction(0);
  });
  ExpectMerged({"aggregation"},
               [](auto& config) { config.mutable_aggregation()->set_max_staleness(0); });
  ExpectMerged({"schedule.cosine"},
               [](auto& config) { config.mutable_schedule()->mutable_constant(); });
  // What is required has no default.
  ExpectRefused(Merge({"schedule.learning_rate"}).status(), "FIELD_REQUIRED",
                "config.schedule.learning_rate");
  ExpectRefused(Merge({"schedule.cosine.total_steps"}).status(), "FIELD_REQUIRED",
                "config.schedule.cosine.total_steps");
  ExpectRefused(Merge({"optimizer"}).status(), "FIELD_REQUIRED", "config.optimizer");
}

TEST_F(MergeConfigTest, AWarmUpThatWouldOutlastTheDecayIsRefused) {
  wanted_.mutable_schedule()->set_warmup_steps(100);
  ExpectRefused(Merge({"schedule.warmup_steps"}).status(), "HYPERPARAMETER_OUT_OF_RANGE",
                "config.schedule.cosine.total_steps");
  wanted_.mutable_schedule()->mutable_cosine()->set_total_steps(101);
  ExpectMerged({"schedule.warmup_steps", "schedule.cosine.total_steps"}, [](auto& config) {
    config.mutable_schedule()->set_warmup_steps(100);
    config.mutable_schedule()->mutable_cosine()->set_total_steps(101);
  });
}

TEST_F(MergeConfigTest, AFieldThatIsNeededMayBecomeZeroButNotUnset) {
  v1::SessionConfig trimmed = Current();
  v1::AggregationPolicy& aggregation = *trimmed.mutable_aggregation();
  aggregation.set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
  aggregation.set_reduction(v1::REDUCTION_TRIMMED_MEAN);
  aggregation.set_trim_fraction(0.25);
  aggregation.set_max_workers(8);
  const core::SessionConfig current = *ConfigFromProto(trimmed);
  google::protobuf::FieldMask mask;
  mask.add_paths("aggregation.trim_fraction");
  ExpectRefused(MergeConfig(current, wanted_, mask).status(), "FIELD_REQUIRED",
                "config.aggregation.trim_fraction");
  wanted_.mutable_aggregation()->set_trim_fraction(0);
  const auto merged = MergeConfig(current, wanted_, mask);
  ASSERT_TRUE(merged.ok()) << merged.status();
  EXPECT_EQ(merged->aggregation.value().trim_fraction, 0);
  // The echo of a policy that uses no trim_fraction says 0 as well, and resolves to itself.
  EXPECT_TRUE(ConfigFromProto(ConfigToProto(*merged)).ok());
}

// What the current configuration has there is a default that nobody chose.
TEST_F(MergeConfigTest, AFieldThatAChangeMakesNeededIsNamedByIt) {
  google::protobuf::FieldMask mask;
  v1::SessionConfig search = Minimal();
  search.mutable_optimizer()->mutable_gradient_descent();
  search.mutable_search()->set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  const core::SessionConfig current = *ConfigFromProto(search);
  mask.add_paths("search.shaping");
  wanted_.mutable_search()->set_shaping(v1::SHAPING_CENTERED_RANKS);
  ExpectRefused(MergeConfig(current, wanted_, mask).status(), "FIELD_REQUIRED",
                "config.search.scale");
  wanted_.mutable_search()->set_scale(v1::SCALE_TUTORIAL);
  mask.add_paths("search.scale");
  const auto shaped = MergeConfig(current, wanted_, mask);
  ASSERT_TRUE(shaped.ok()) << shaped.status();
  // Once it is named it stands.
  mask.Clear();
  mask.add_paths("search.shaping");
  wanted_.mutable_search()->set_shaping(v1::SHAPING_Z_SCORE);
  EXPECT_TRUE(MergeConfig(*shaped, wanted_, mask).ok());
}

// Another method contradicts what the one in force is told: that is not what is wrong.
TEST_F(MergeConfigTest, AFixedFieldIsNamedBeforeWhatItContradicts) {
  v1::SessionConfig search = Minimal();
  search.mutable_search()->set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  search.mutable_search()->set_differences(v1::DIFFERENCES_DIRECTIONAL);
  const core::SessionConfig current = *ConfigFromProto(search);
  google::protobuf::FieldMask mask;
  mask.add_paths("search.method");
  for (const v1::SearchMethod method : {v1::SEARCH_METHOD_RANDOM_SEARCH, v1::SEARCH_METHOD_NONE}) {
    wanted_.mutable_search()->set_method(method);
    ExpectRefused(MergeConfig(current, wanted_, mask).status(), "FIELD_IMMUTABLE",
                  "config.search.method");
  }
  wanted_.mutable_search()->set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  EXPECT_TRUE(MergeConfig(current, wanted_, mask).ok());
}

TEST_F(MergeConfigTest, GroupsAreReplacedAsAWhole) {
  v1::SessionConfig with_groups = Current();
  AddGroup(with_groups, "w");
  AddGroup(with_groups, "scale");
  with_groups.mutable_groups(0)->set_learning_rate_factor(0.5);
  const core::SessionConfig current = *ConfigFromProto(with_groups);
  const auto merge = [&](const v1::SessionConfig& wanted, const std::string& path) {
    google::protobuf::FieldMask mask;
    mask.add_paths(path);
    return MergeConfig(current, wanted, mask);
  };
  v1::SessionConfig wanted;
  AddGroup(wanted, "*");
  wanted.mutable_groups(0)->set_frozen(true);
  const auto merged = merge(wanted, "groups");
  ASSERT_TRUE(merged.ok()) << merged.status();
  ASSERT_EQ(merged->groups.size(), 1u);
  EXPECT_TRUE(merged->groups[0].config.value().frozen);
  EXPECT_EQ(merged->group_map->GroupOfTensor(0), 1u);
  EXPECT_EQ(merged->group_map->GroupOfTensor(1), 1u);
  // None wanted: none left. Another path leaves them.
  EXPECT_TRUE(merge({}, "groups")->groups.empty());
  EXPECT_EQ(merge({}, "clipping")->groups.size(), 2u);
  // One group has no path of its own.
  EXPECT_EQ(core::FieldName(merge(wanted, "groups.frozen").status()), "update_mask.paths[0]");
  wanted.mutable_groups(0)->set_tensors("nothing");
  ExpectRefused(merge(wanted, "groups").status(), "FIELD_OUT_OF_RANGE", "config.groups[0].tensors");
}

TEST_F(MergeConfigTest, WhatNeedsOtherMemoryIsMergedForTheSessionToRefuse) {
  wanted_.mutable_average()->set_decay(0.5);
  ExpectRefused(core::CheckLiveChange(current_, *Merge({"average"})), "FIELD_IMMUTABLE",
                "config.average.decay");
  wanted_.mutable_aggregation()->set_gradient_accumulation_steps(2);
  ExpectRefused(
      core::CheckLiveChange(current_, *Merge({"aggregation.gradient_accumulation_steps"})),
      "FIELD_IMMUTABLE", "config.aggregation.gradient_accumulation_steps");
}

TEST_F(MergeConfigTest, EmptyMaskIsRefused) {
  wanted_ = Current();
  ExpectRefused(Merge({}).status(), "FIELD_REQUIRED", "update_mask");
}

TEST_F(MergeConfigTest, PathsThatNameNoFieldAreRefused) {
  wanted_ = Current();
  for (const char* path :
       {"schedule.speed", "beta1", "*", "config.schedule", "schedule.learning_rate.x", "",
        "schedule.", ".schedule", "schedule..learning_rate", " schedule", "optimizer.method"}) {
    ExpectRefused(Merge({"schedule", path}).status(), "FIELD_OUT_OF_RANGE", "update_mask.paths[1]");
    EXPECT_THAT(Merge({path}).status().message(), HasSubstr("\"" + std::string(path) + "\""));
  }
}

TEST_F(MergeConfigTest, LayoutIsFixedWhateverItSays) {
  wanted_ = Current();
  for (const char* path : {"layout", "layout.tensors"}) {
    ExpectRefused(Merge({"schedule", path}).status(), "FIELD_IMMUTABLE", "update_mask.paths[1]");
  }
}

TEST_F(MergeConfigTest, AnotherMethodIsMergedForTheSessionToRefuse) {
  wanted_.mutable_optimizer()->mutable_momentum()->set_beta(0.5);
  for (const char* path : {"optimizer", "optimizer.momentum", "optimizer.momentum.beta"}) {
    const absl::StatusOr<core::SessionConfig> merged = Merge({path});
    ASSERT_TRUE(merged.ok()) << merged.status();
    EXPECT_EQ(merged->method->name, "momentum");
    ExpectRefused(core::CheckLiveChange(current_, *merged), "FIELD_IMMUTABLE", "config.optimizer");
  }
}

TEST_F(MergeConfigTest, FixedFieldIsMergedForTheSessionToRefuse) {
  wanted_.mutable_optimizer()->mutable_adam()->set_dialect(v1::DIALECT_KERAS);
  const auto merged = Merge({"optimizer.adam.dialect"});
  ASSERT_TRUE(merged.ok()) << merged.status();
  ExpectRefused(core::CheckLiveChange(current_, *merged), "FIELD_IMMUTABLE",
                "config.optimizer.adam.dialect");
}

TEST_F(MergeConfigTest, WantedValueOutOfRangeIsNamedWithinTheRequest) {
  wanted_.mutable_optimizer()->mutable_adam()->set_beta1(2);
  ExpectRefused(Merge({"optimizer.adam.beta1"}).status(), "HYPERPARAMETER_OUT_OF_RANGE",
                "config.optimizer.adam.beta1");
}

}  // namespace
}  // namespace talweg::server
