// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/session_of_world.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/check.h"
#include "core/optimizers/registry.h"

namespace talweg::simulation {
namespace {

// Sums in floating point would depend on their order.
float Awkward(uint64_t bits) {
  if (bits % 8 == 0) return 0;
  // Some that often cancel each other; the others of sizes from 2^-20 to 2^19.
  if (bits % 8 < 4) return bits % 2 == 0 ? 0x1p70f : -0x1p70f;
  const double fraction = static_cast<double>(static_cast<int64_t>(bits) >> 40) * 0x1p-23;
  return static_cast<float>(std::ldexp(fraction, static_cast<int>(bits % 40) - 20));
}

}  // namespace

core::Configure ToConfigure(const Settings& settings) {
  core::RateConfig rate;
  rate.learning_rate = settings.learning_rate;
  const core::DecayKind& kind = *core::FindDecayKind("constant");
  return {core::Schedule(core::ConfigOf<core::RateConfig>(rate), kind, kind.default_config()),
          settings.policy, settings.config_version};
}

Settings ToSettings(const core::Configure& configure) {
  return {configure.aggregation, configure.schedule.rate().value().learning_rate,
          configure.config_version};
}

core::SessionConfig ToConfig(const WorldConfig& world, const Settings& settings) {
  const core::Method& method = *core::FindMethod("gradient_descent");
  core::SessionConfig config{std::make_shared<const core::Layout>(
                                 *core::Layout::Create({{"weights", {NumElements(world)}}})),
                             &method, method.default_config(), ToConfigure(settings).schedule,
                             core::ConfigOf<core::AggregationConfig>(settings.policy)};
  config.weight_decay = core::ConfigOf<core::WeightDecayConfig>({0, world.decay});
  TALWEG_CHECK(config.Resolve().ok());
  return config;
}

std::unique_ptr<core::Session> MakeSession(const WorldConfig& world, uint64_t history,
                                           const Settings& settings) {
  auto parameters = std::make_shared<core::Parameters>(NumElements(world));
  const std::vector<float> values = FirstParameters(world);
  std::copy(values.begin(), values.end(), parameters->values.data());
  auto session = std::make_unique<core::Session>(ToConfig(world, settings), history, parameters);
  session->SwitchOn(world.mutation);
  return session;
}

std::unique_ptr<core::Session> LoadSession(const WorldConfig& world, const std::string& state,
                                           const Settings& settings, uint64_t history,
                                           absl::Time now) {
  auto session = core::Session::Load(state, now, history);
  if (!session.ok() || (*session)->config_version() != settings.config_version) return nullptr;
  (*session)->SwitchOn(world.mutation);
  return *std::move(session);
}

uint32_t NumElements(const WorldConfig& world) {
  return world.num_elements > 0 ? world.num_elements : 2;
}

std::vector<float> GradientOf(const Payload& payload, uint32_t num_elements) {
  std::vector<float> gradient(num_elements);
  for (uint32_t element = 0; element < num_elements; ++element) {
    gradient[element] = Awkward(Mix(payload.content + element));
  }
  if (!payload.finite) gradient[0] = INFINITY;
  return gradient;
}

std::vector<float> GradientOf(const WorldConfig& world, const Payload& payload) {
  if (world.num_elements > 0) return GradientOf(payload, world.num_elements);
  // 48 bits of the content, exactly.
  return {payload.finite ? static_cast<float>(payload.content & 0xffffff) : INFINITY,
          static_cast<float>(payload.content >> 24 & 0xffffff)};
}

std::vector<float> FirstParameters(const WorldConfig& world) {
  Payload payload;
  payload.content = world.seed;
  return GradientOf(world, payload);
}

}  // namespace talweg::simulation
