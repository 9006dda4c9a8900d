// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/engine.h"

#include <cmath>
#include <utility>

#include "core/base/byte_io.h"

namespace talweg::simulation {
namespace {

class MachineEngine final : public Engine {
 public:
  explicit MachineEngine(core::RoundMachine machine) : machine_(std::move(machine)) {}

  core::Effects Handle(const core::Event& event, const Payload* /*payload*/,
                       absl::Time now) override {
    return machine_.Handle(event, now);
  }
  core::Effects Configure(const Settings& settings, absl::Time now) override {
    return machine_.Handle(ToConfigure(settings), now);
  }
  core::Effects TakeStep(absl::Time now) override {
    return machine_.Handle(core::StepTaken{}, now);
  }
  const core::RoundMachine& machine() const override { return machine_; }
  std::string Save() override {
    core::ByteWriter writer;
    machine_.Save(writer);
    return std::move(writer).Take();
  }
  absl::Span<const float> parameters() const override { return {}; }

 private:
  core::RoundMachine machine_;
};

}  // namespace

core::Configure ToConfigure(const Settings& settings) {
  core::RateConfig rate;
  rate.learning_rate = settings.learning_rate;
  const core::DecayKind& kind = *core::FindDecayKind("constant");
  return {core::Schedule(core::ConfigOf<core::RateConfig>(rate), kind, kind.default_config()),
          settings.policy, settings.config_version};
}

std::unique_ptr<Engine> MakeEngine(const WorldConfig& world, uint64_t history,
                                   const Settings& settings) {
  core::RoundMachine machine(history, ToConfigure(settings));
  machine.SwitchOn(world.mutation);
  return std::make_unique<MachineEngine>(std::move(machine));
}

std::unique_ptr<Engine> LoadEngine(const WorldConfig& world, const std::string& state,
                                   const Settings& settings, uint64_t history, absl::Time now) {
  core::RoundMachine machine(1, ToConfigure(settings));
  core::ByteReader reader(state);
  if (!machine.Load(reader, now, history).ok() || !reader.End().ok()) return nullptr;
  machine.SwitchOn(world.mutation);
  return std::make_unique<MachineEngine>(std::move(machine));
}

std::vector<float> GradientOf(const Payload& payload, uint32_t num_elements) {
  std::vector<float> gradient(num_elements);
  for (uint32_t element = 0; element < num_elements; ++element) {
    const uint64_t bits = Mix(payload.content + element);
    if (bits % 8 == 0) continue;
    // Sizes from 2^-20 to 2^19, so that sums in floating point would depend on their order.
    const double fraction = static_cast<double>(static_cast<int64_t>(bits) >> 40) * 0x1p-23;
    gradient[element] = static_cast<float>(std::ldexp(fraction, static_cast<int>(bits % 40) - 20));
  }
  if (!payload.finite && num_elements > 0) gradient[0] = INFINITY;
  return gradient;
}

std::vector<float> FirstParameters(const WorldConfig& world) {
  Payload payload;
  payload.content = world.seed;
  return GradientOf(payload, world.num_elements);
}

}  // namespace talweg::simulation
