// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/engine.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <variant>

#include "core/base/byte_io.h"
#include "core/base/check.h"
#include "core/optimizers/registry.h"
#include "core/session/session.h"
#include "core/session/staged_gradient.h"

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

core::SessionConfig ConfigOf(const WorldConfig& world, const Settings& settings) {
  const core::Method& method = *core::FindMethod("gradient_descent");
  core::SessionConfig config{std::make_shared<const core::Layout>(
                                 *core::Layout::Create({{"weights", {world.num_elements}}})),
                             &method, method.default_config(), ToConfigure(settings).schedule,
                             core::ConfigOf<core::AggregationConfig>(settings.policy)};
  config.weight_decay = core::ConfigOf<core::WeightDecayConfig>({0, world.decay});
  TALWEG_CHECK(config.Resolve().ok());
  return config;
}

class SessionEngine final : public Engine {
 public:
  SessionEngine(const WorldConfig& world, std::unique_ptr<core::Session> session)
      : world_(world), session_(std::move(session)) {}

  core::Effects Handle(const core::Event& event, const Payload* payload, absl::Time now) override {
    std::shared_ptr<core::StagedGradient> gradient;
    if (std::holds_alternative<core::Contribution>(event)) {
      gradient = Stage(*payload);
      TALWEG_CHECK(session_->Prepare().ok());
    }
    core::Effects effects = session_->Handle(event, now);
    if (effects.fold) {
      session_->Take(Folded(effects, *payload), gradient);
      ++num_taken_;
    }
    if (effects.step.has_value()) {
      ordered_ = effects;
      // Of a round of one, the gradient itself; but not that of somebody whose refusal closed it.
      single_ = effects.step->contributors > num_taken_ ? gradient : nullptr;
      num_taken_ = 0;
    } else if (session_->num_unfolded() == core::Session::kMaxUnfolded ||
               (effects.fold && payload->content % 3 == 0)) {
      // Some contributions one by one, some several in a pass.
      session_->BeginFold();
      Work(now);
    }
    return effects;
  }

  core::Effects Configure(const Settings& settings, absl::Time now) override {
    core::Effects effects;
    effects.status = session_->Reconfigure(0, ConfigOf(world_, settings), now);
    return effects;
  }

  core::Effects TakeStep(absl::Time now) override {
    session_->BeginStep(ordered_, std::move(single_),
                        std::make_shared<core::Parameters>(session_->num_elements()));
    return Work(now);
  }

  const core::RoundMachine& machine() const override { return session_->machine(); }
  std::string Save() override { return session_->Save(); }
  absl::Span<const float> parameters() const override {
    return session_->parameters()->values.span();
  }

 private:
  // What is folded for them: with a flaw, something else.
  core::Effects Folded(core::Effects effects, const Payload& payload) const {
    if (payload.content % 4 != 0) return effects;
    if (world_.flaw == Flaw::kLoseFold) effects.weight = 0;
    if (world_.flaw == Flaw::kLoseWeight) effects.weight = 1;
    return effects;
  }
  std::shared_ptr<core::StagedGradient> Stage(const Payload& payload) const {
    const std::vector<float> values = GradientOf(payload, world_.num_elements);
    auto staged = std::make_shared<core::StagedGradient>(values.size());
    staged->Begin(session_->config().group_map);
    staged->Stage({0, values.size()}, core::Dtype::kFloat32,
                  reinterpret_cast<const char*>(values.data()));
    return staged;
  }
  core::Effects Work(absl::Time now) {
    for (size_t stage = 0; stage < session_->NumStages(); ++stage) {
      for (size_t piece = 0; piece < session_->NumPieces(stage); ++piece) {
        session_->RunPiece(stage, piece);
      }
      session_->EndStage(stage);
    }
    return session_->End(now);
  }

  const WorldConfig& world_;
  std::unique_ptr<core::Session> session_;
  uint32_t num_taken_ = 0;  // into the open round
  core::Effects ordered_;
  std::shared_ptr<core::StagedGradient> single_;  // of a round of one
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
  if (world.num_elements > 0) {
    auto parameters = std::make_shared<core::Parameters>(world.num_elements);
    const std::vector<float> values = FirstParameters(world);
    std::copy(values.begin(), values.end(), parameters->values.data());
    return std::make_unique<SessionEngine>(
        world, std::make_unique<core::Session>(ConfigOf(world, settings), history, parameters));
  }
  core::RoundMachine machine(history, ToConfigure(settings));
  machine.SwitchOn(world.mutation);
  return std::make_unique<MachineEngine>(std::move(machine));
}

std::unique_ptr<Engine> LoadEngine(const WorldConfig& world, const std::string& state,
                                   const Settings& settings, uint64_t history, absl::Time now) {
  if (world.num_elements > 0) {
    auto session = core::Session::Load(state, now, history);
    if (!session.ok() || (*session)->config_version() != settings.config_version) return nullptr;
    return std::make_unique<SessionEngine>(world, *std::move(session));
  }
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
    // Some that often cancel each other; the others of sizes from 2^-20 to 2^19. Sums in floating
    // point would depend on their order.
    if (bits % 8 < 4) {
      gradient[element] = bits % 2 == 0 ? 0x1p70f : -0x1p70f;
      continue;
    }
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
