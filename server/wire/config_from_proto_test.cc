// SPDX-License-Identifier: Apache-2.0
//
// Configurations as they come at create: defaults, echoes, and which field a refusal names.
#include "server/wire/config_from_proto.h"

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "core/base/name_pattern.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "server/wire/config_testing.h"

namespace talweg::server {
namespace {

using google::protobuf::util::MessageDifferencer;

// Refused, once `spoil` has been at it.
void ExpectConfigRefused(const std::function<void(v1::SessionConfig&)>& spoil,
                         const std::string& reason, const std::string& field) {
  v1::SessionConfig config = Minimal();
  ASSERT_TRUE(ConfigFromProto(config).ok());
  spoil(config);
  ExpectRefused(ConfigFromProto(config).status(), reason, field);
}

TEST(ConfigFromProtoTest, DefaultsAreResolvedAndEchoed) {
  const absl::StatusOr<core::SessionConfig> config = ConfigFromProto(Minimal());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->layout->num_elements(), 7u);
  EXPECT_EQ(config->method->name, "adam");
  EXPECT_EQ(config->schedule.kind().name, "constant");
  EXPECT_EQ(config->schedule.LearningRate(5), 0.1);

  v1::SessionConfig expected = Minimal();
  v1::Adam& adam = *expected.mutable_optimizer()->mutable_adam();
  adam.set_beta1(0.9);
  adam.set_beta2(0.999);
  adam.set_epsilon(1e-8);
  adam.set_dialect(v1::DIALECT_TORCH);
  adam.set_amsgrad(false);
  expected.mutable_schedule()->set_warmup_steps(0);
  expected.mutable_schedule()->mutable_constant();
  v1::AggregationPolicy& aggregation = *expected.mutable_aggregation();
  aggregation.set_max_staleness(0);
  aggregation.set_lease_seconds(30);
  aggregation.set_gradient_accumulation_steps(1);
  aggregation.set_mode(v1::AGGREGATION_MODE_ASYNCHRONOUS);
  aggregation.set_max_rounds_ahead(0);
  aggregation.set_close(v1::CLOSE_RULE_ALL);
  aggregation.set_close_count(0);
  aggregation.set_close_weight(0);
  aggregation.set_close_seconds(0);
  aggregation.set_too_few(v1::TOO_FEW_WAIT);
  aggregation.set_min_workers(1);
  aggregation.set_progress_seconds(0);
  aggregation.set_reduction(v1::REDUCTION_MEAN);
  aggregation.set_trim_fraction(0);
  aggregation.set_reduce_order(v1::REDUCE_ORDER_ANY);
  aggregation.set_max_workers(0);
  aggregation.set_stale_scale(v1::STALE_SCALE_NONE);
  aggregation.set_workers_may_close(false);
  expected.mutable_clipping()->set_max_norm(0);
  expected.mutable_clipping()->set_max_value(0);
  expected.mutable_weight_decay()->set_coupled(0);
  expected.mutable_weight_decay()->set_decoupled(0);
  expected.mutable_average()->set_decay(0);
  expected.mutable_digests()->set_every_steps(0);
  const v1::SessionConfig echoed = ConfigToProto(*config);
  EXPECT_TRUE(MessageDifferencer::Equals(echoed, expected)) << echoed.DebugString();
}

TEST(ConfigFromProtoTest, EchoResolvesToItself) {
  std::vector<v1::SessionConfig> configs(4, Minimal());
  configs[1].mutable_optimizer()->mutable_gradient_descent();
  configs[1].mutable_schedule()->mutable_inverse_sqrt();
  configs[2].mutable_optimizer()->mutable_momentum()->set_dialect(v1::DIALECT_KERAS);
  configs[2].mutable_schedule()->mutable_cosine()->set_total_steps(100);
  configs[3].mutable_schedule()->mutable_polynomial()->set_total_steps(10);
  configs[3].mutable_schedule()->set_warmup_steps(7);
  configs[3].mutable_aggregation()->set_max_staleness(4);
  for (const v1::SessionConfig& asked : configs) {
    const v1::SessionConfig echoed = ConfigToProto(*ConfigFromProto(asked));
    const v1::SessionConfig again = ConfigToProto(*ConfigFromProto(echoed));
    EXPECT_TRUE(MessageDifferencer::Equals(echoed, again)) << echoed.DebugString();
    EXPECT_TRUE(core::SameConfig(*ConfigFromProto(asked), *ConfigFromProto(echoed)));
  }
}

TEST(ConfigFromProtoTest, ShapesSurviveAndAScalarHasNone) {
  const v1::SessionConfig echoed = ConfigToProto(*ConfigFromProto(Minimal()));
  ASSERT_EQ(echoed.layout().tensors_size(), 2);
  EXPECT_EQ(echoed.layout().tensors(0).shape_size(), 2);
  EXPECT_EQ(echoed.layout().tensors(0).shape(1), 3u);
  EXPECT_EQ(echoed.layout().tensors(1).name(), "scale");
  EXPECT_EQ(echoed.layout().tensors(1).shape_size(), 0);
}

TEST(ConfigFromProtoTest, MissingPartsAreRequired) {
  ExpectConfigRefused([](auto& config) { config.clear_layout(); }, "FIELD_REQUIRED", "layout");
  ExpectConfigRefused([](auto& config) { config.clear_optimizer(); }, "FIELD_REQUIRED",
                      "optimizer");
  ExpectConfigRefused([](auto& config) { config.mutable_optimizer()->Clear(); }, "FIELD_REQUIRED",
                      "optimizer");
  ExpectConfigRefused([](auto& config) { config.clear_schedule(); }, "FIELD_REQUIRED", "schedule");
  ExpectConfigRefused([](auto& config) { config.mutable_schedule()->Clear(); }, "FIELD_REQUIRED",
                      "schedule.learning_rate");
  ExpectConfigRefused([](auto& config) { config.mutable_schedule()->mutable_step(); },
                      "FIELD_REQUIRED", "schedule.step.period_steps");
}

TEST(ConfigFromProtoTest, BadLayoutsAreNamed) {
  ExpectConfigRefused([](auto& config) { config.mutable_layout()->Clear(); }, "LAYOUT_INVALID",
                      "layout.tensors");
  ExpectConfigRefused(
      [](auto& config) { config.mutable_layout()->mutable_tensors(1)->set_name("w"); },
      "LAYOUT_INVALID", "layout.tensors[1].name");
  ExpectConfigRefused(
      [](auto& config) { config.mutable_layout()->mutable_tensors(0)->set_shape(1, 0); },
      "LAYOUT_INVALID", "layout.tensors[0].shape");
  ExpectConfigRefused(
      [](auto& config) {
        for (size_t count = 0; count <= core::Layout::kMaxTensors; ++count) {
          config.mutable_layout()->add_tensors()->set_name("t" + std::to_string(count));
        }
      },
      "LAYOUT_INVALID", "layout.tensors");
}

TEST(ConfigFromProtoTest, ValuesOutOfRangeAreNamed) {
  ExpectConfigRefused(
      [](auto& config) { config.mutable_optimizer()->mutable_adam()->set_beta1(1); },
      "HYPERPARAMETER_OUT_OF_RANGE", "optimizer.adam.beta1");
  ExpectConfigRefused(
      [](auto& config) { config.mutable_optimizer()->mutable_momentum()->set_dampening(0.5); },
      "HYPERPARAMETER_OUT_OF_RANGE", "optimizer.momentum.dampening");
  ExpectConfigRefused(
      [](auto& config) {
        config.mutable_optimizer()->mutable_adam()->set_dialect(static_cast<v1::Dialect>(77));
      },
      "FIELD_OUT_OF_RANGE", "optimizer.adam.dialect");
  ExpectConfigRefused([](auto& config) { config.mutable_schedule()->set_learning_rate(0); },
                      "HYPERPARAMETER_OUT_OF_RANGE", "schedule.learning_rate");
  ExpectConfigRefused(
      [](auto& config) { config.mutable_schedule()->mutable_cosine()->set_total_steps(0); },
      "HYPERPARAMETER_OUT_OF_RANGE", "schedule.cosine.total_steps");
  ExpectConfigRefused([](auto& config) { config.mutable_aggregation()->set_lease_seconds(0); },
                      "HYPERPARAMETER_OUT_OF_RANGE", "aggregation.lease_seconds");
}

TEST(ConfigFromProtoTest, ADecayThatEndsBeforeItsWarmUpIsNamed) {
  for (const uint64_t warmup_steps : {10, 11}) {
    ExpectConfigRefused(
        [&](auto& config) {
          config.mutable_schedule()->set_warmup_steps(warmup_steps);
          config.mutable_schedule()->mutable_cosine()->set_total_steps(10);
        },
        "HYPERPARAMETER_OUT_OF_RANGE", "schedule.cosine.total_steps");
    ExpectConfigRefused(
        [&](auto& config) {
          config.mutable_schedule()->set_warmup_steps(warmup_steps);
          config.mutable_schedule()->mutable_polynomial()->set_total_steps(10);
        },
        "HYPERPARAMETER_OUT_OF_RANGE", "schedule.polynomial.total_steps");
  }
  v1::SessionConfig config = Minimal();
  config.mutable_schedule()->set_warmup_steps(9);
  config.mutable_schedule()->mutable_cosine()->set_total_steps(10);
  EXPECT_TRUE(ConfigFromProto(config).ok());
}

TEST(ConfigFromProtoTest, SettingsOfAStepAreTaken) {
  v1::SessionConfig proto = Minimal();
  proto.mutable_clipping()->set_max_norm(2);
  proto.mutable_clipping()->set_max_value(0.5);
  proto.mutable_weight_decay()->set_coupled(0.25);
  proto.mutable_weight_decay()->set_decoupled(0.125);
  proto.mutable_average()->set_decay(0.99);
  proto.mutable_aggregation()->set_gradient_accumulation_steps(4);
  AddGroup(proto, "s*");
  proto.mutable_groups(0)->set_learning_rate_factor(0.1);
  proto.mutable_groups(0)->set_decay_factor(0);
  proto.mutable_groups(0)->set_frozen(true);
  const auto config = ConfigFromProto(proto);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->clipping.value().max_norm, 2);
  EXPECT_EQ(config->clipping.value().max_value, 0.5);
  EXPECT_EQ(config->weight_decay.value().coupled, 0.25);
  EXPECT_EQ(config->weight_decay.value().decoupled, 0.125);
  EXPECT_EQ(config->average.value().decay, 0.99);
  EXPECT_EQ(config->aggregation.value().gradient_accumulation_steps, 4u);
  ASSERT_EQ(config->groups.size(), 1u);
  EXPECT_EQ(config->groups[0].tensors, "s*");
  EXPECT_TRUE(config->groups[0].config.value().frozen);
  EXPECT_EQ(config->groups[0].config.value().learning_rate_factor, 0.1);
  EXPECT_EQ(config->group_map->GroupOfTensor(0), 0u);
  EXPECT_EQ(config->group_map->GroupOfTensor(1), 1u);
  const v1::SessionConfig echoed = ConfigToProto(*config);
  EXPECT_EQ(echoed.groups(0).decay_factor(), 0);
  EXPECT_TRUE(echoed.groups(0).has_max_norm());  // defaults are spelled out
  EXPECT_TRUE(core::SameConfig(*config, *ConfigFromProto(echoed)));
}

TEST(ConfigFromProtoTest, BadSettingsOfAStepAreNamed) {
  constexpr char kReason[] = "HYPERPARAMETER_OUT_OF_RANGE";
  for (const double bad : {-1.0, HUGE_VAL, std::nan("")}) {
    ExpectConfigRefused([&](auto& config) { config.mutable_clipping()->set_max_norm(bad); },
                        kReason, "clipping.max_norm");
    ExpectConfigRefused([&](auto& config) { config.mutable_clipping()->set_max_value(bad); },
                        kReason, "clipping.max_value");
    ExpectConfigRefused([&](auto& config) { config.mutable_weight_decay()->set_coupled(bad); },
                        kReason, "weight_decay.coupled");
    ExpectConfigRefused([&](auto& config) { config.mutable_weight_decay()->set_decoupled(bad); },
                        kReason, "weight_decay.decoupled");
    ExpectConfigRefused([&](auto& config) { config.mutable_average()->set_decay(bad); }, kReason,
                        "average.decay");
    ExpectConfigRefused(
        [&](auto& config) {
          AddGroup(config, "w");
          AddGroup(config, "*");
          config.mutable_groups(1)->set_learning_rate_factor(bad);
        },
        kReason, "groups[1].learning_rate_factor");
    ExpectConfigRefused(
        [&](auto& config) {
          AddGroup(config, "w");
          config.mutable_groups(0)->set_max_norm(bad);
        },
        kReason, "groups[0].max_norm");
  }
  ExpectConfigRefused([](auto& config) { config.mutable_average()->set_decay(1); }, kReason,
                      "average.decay");
  for (const uint64_t bad : {uint64_t{0}, uint64_t{65537}, UINT64_MAX}) {
    ExpectConfigRefused(
        [&](auto& config) { config.mutable_aggregation()->set_gradient_accumulation_steps(bad); },
        kReason, "aggregation.gradient_accumulation_steps");
  }
}

TEST(ConfigFromProtoTest, BadGroupsAreNamed) {
  constexpr char kReason[] = "FIELD_OUT_OF_RANGE";
  ExpectConfigRefused([](auto& config) { AddGroup(config, ""); }, kReason, "groups[0].tensors");
  ExpectConfigRefused([](auto& config) { AddGroup(config, std::string(257, 'w')); }, kReason,
                      "groups[0].tensors");
  ExpectConfigRefused(
      [](auto& config) {
        AddGroup(config, "*");
        AddGroup(config, "scale");  // the first one takes it
      },
      kReason, "groups[1].tensors");
  ExpectConfigRefused(
      [](auto& config) {
        AddGroup(config, "w");
        config.mutable_groups(0)->set_fallback(true);
      },
      kReason, "groups[0].fallback");
  ExpectConfigRefused(
      [](auto& config) {
        for (size_t index = 0; index <= core::kMaxPatterns; ++index) AddGroup(config, "w");
      },
      kReason, "groups");
}

TEST(ConfigFromProtoTest, DecoupledDecayThatIsUnsetIsTheMethodsOwn) {
  for (const core::Method& method : core::Methods()) {
    v1::SessionConfig proto = Minimal();
    const auto* field =
        proto.optimizer().GetDescriptor()->FindFieldByName(std::string(method.name));
    proto.mutable_optimizer()->GetReflection()->MutableMessage(proto.mutable_optimizer(), field);
    if (method.takes_layers) {
      proto.mutable_layout()->mutable_tensors(0)->clear_shape();
      proto.mutable_layout()->mutable_tensors(0)->add_shape(2);
      proto.mutable_layout()->mutable_tensors(0)->add_shape(2);
      proto.add_layers()->set_weight(proto.layout().tensors(0).name());
    }
    proto.mutable_weight_decay()->set_coupled(0.5);
    EXPECT_EQ(ConfigFromProto(proto)->weight_decay.value().decoupled, method.default_decay)
        << method.name;
    proto.mutable_weight_decay()->set_decoupled(0.75);
    const core::SessionConfig decaying = *ConfigFromProto(proto);
    EXPECT_EQ(decaying.weight_decay.value().decoupled, 0.75);
    // And an update that names it without a value goes back to it.
    google::protobuf::FieldMask mask;
    mask.add_paths("weight_decay.decoupled");
    const auto merged = MergeConfig(decaying, v1::SessionConfig(), mask);
    ASSERT_TRUE(merged.ok()) << merged.status();
    EXPECT_EQ(merged->weight_decay.value().decoupled, method.default_decay) << method.name;
    EXPECT_EQ(merged->weight_decay.value().coupled, 0.5);
  }
}

}  // namespace
}  // namespace talweg::server
