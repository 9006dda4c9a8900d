// SPDX-License-Identifier: Apache-2.0
//
// For tests only: a session of one worker, "a", with plain settings or with every setting at once.
// Tests that use it live in this namespace.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "core/optimizers/optimizer_testing.h"
#include "core/session/pseudo_testing.h"
#include "core/session/session.h"
#include "core/session/session_testing.h"
#include "core/session/staged_gradient.h"
#include "gtest/gtest.h"

namespace talweg::core::one_worker {

inline constexpr uint64_t kHistory = 99;
inline const absl::Time kNow = absl::UnixEpoch() + absl::Hours(1);

// A few shards and a ragged end.
inline constexpr uint64_t kElements = 2 * kShard + 3 * kBlock + 517;

// Tensors of many shapes (SpaceOf), and a vector that fills the rest.
inline SessionConfig ConfigFor(const Method& method, uint64_t num_elements = kElements) {
  RateConfig rate;
  rate.learning_rate = 0.01;
  rate.warmup_steps = 3;
  const DecayKind& kind = *FindDecayKind("inverse_sqrt");
  AggregationConfig aggregation;
  aggregation.max_staleness = 3;
  SessionConfig config{SpaceOf(num_elements).layout, &method, method.default_config(),
                       Schedule(ConfigOf<RateConfig>(rate), kind, kind.default_config()),
                       ConfigOf<AggregationConfig>(aggregation)};
  EXPECT_TRUE(config.Resolve().ok());
  return config;
}

inline std::vector<float> CopyOf(const Parameters& parameters) {
  return {parameters.values.span().begin(), parameters.values.span().end()};
}

inline std::unique_ptr<Session> Make(const SessionConfig& config) {
  const uint64_t num_elements = config.layout->num_elements();
  auto initial = std::make_shared<Parameters>(num_elements);
  const std::vector<float> values = PseudoVector(1, num_elements);
  std::copy(values.begin(), values.end(), initial->values.data());
  auto session = std::make_unique<Session>(config, kHistory, initial);
  EXPECT_TRUE(session->Handle(Join{"a", 1}, kNow).effects.status.ok());
  return session;
}

inline std::unique_ptr<Session> Make(const Method& method, uint64_t num_elements = kElements) {
  return Make(ConfigFor(method, num_elements));
}

// Contributes `gradient` at the current version, under the next sequence.
inline Answer Contribute(Session& session, uint64_t sequence, const std::vector<float>& gradient,
                         const Runner& run = RunHere) {
  StagedGradient staged(gradient.size());
  staged.Begin(session.config().group_map);
  staged.Stage({0, gradient.size()}, Dtype::kFloat32,
               reinterpret_cast<const char*>(gradient.data()));
  Contribution contribution;
  contribution.history = kHistory;
  contribution.worker = "a";
  contribution.incarnation = 1;
  contribution.sequence = sequence;
  contribution.base_version = session.machine().version();
  contribution.ticket = sequence;
  ContributionInput input{contribution};
  input.gradient = Borrow(staged);
  input.returns_gradient = true;
  const Contributed done = ContributeAndRun(session, std::move(input), kNow, run);
  EXPECT_TRUE(done.judged.fold || done.judged.step.has_value());
  return done.judged.answer.has_value() ? *done.judged.answer
                                        : done.ended.effects.released.front().answer;
}

// Takes the step that makes the next version.
inline Answer Step(Session& session, const Runner& run = RunHere) {
  const uint64_t version = session.machine().version();
  return Contribute(session, version + 1, PseudoVector(100 + version, session.num_elements()), run);
}

inline std::vector<float> Values(const Session& session) {
  const auto span = session.parameters()->values.span();
  return {span.begin(), span.end()};
}

inline GroupConfig Group(const std::function<void(GroupConfig&)>& set) {
  GroupConfig config;
  set(config);
  return config;
}

// A session with every setting at once: groups, clipping, decay, an average.
inline SessionConfig FullConfig(const Method& method) {
  SessionConfig config = ConfigFor(method);
  config.clipping = ConfigOf<ClippingConfig>({.max_norm = 40, .max_value = 0.5});
  config.weight_decay = ConfigOf<WeightDecayConfig>({.coupled = 0.02, .decoupled = 0.05});
  config.average = ConfigOf<WeightAverageConfig>({.decay = 0.75});
  config.groups = {{"t1", ConfigOf<GroupConfig>(Group([](auto& c) { c.frozen = true; }))},
                   {"t3", ConfigOf<GroupConfig>(Group([](auto& c) {
                      c.learning_rate_factor = 0.25;
                      c.decay_factor = 0;
                      c.max_norm = 3;
                      c.max_value = 0.125;
                    }))},
                   {"t6", ConfigOf<GroupConfig>(Group([&](auto& c) {
                      c.fallback = method.FindRole("fallback").has_value();
                    }))}};
  EXPECT_TRUE(config.Resolve().ok());
  return config;
}

}  // namespace talweg::core::one_worker
