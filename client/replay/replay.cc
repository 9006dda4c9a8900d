// SPDX-License-Identifier: Apache-2.0
#include "client/replay/replay.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/float_environment.h"
#include "core/base/status_macros.h"
#include "core/search/fitness_shaping.h"
#include "core/session/loss_estimate.h"
#include "core/session/parameter_measures.h"
#include "core/session/stepper.h"
#include "core/session/work.h"
#include "server/wire/config_from_proto.h"

namespace talweg {
namespace {

absl::Status Contradiction(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("the record of a generation ", what));
}

// The pairs that count, ascending.
absl::StatusOr<std::vector<uint32_t>> CountedPairs(const v1::GenerationRecord& record) {
  std::vector<uint32_t> pairs;
  if (record.counted().empty()) {
    pairs.resize(record.num_pairs());
    std::iota(pairs.begin(), pairs.end(), 0u);
    return pairs;
  }
  if (record.counted().size() != (uint64_t{record.num_pairs()} + 7) / 8) {
    return Contradiction("does not say of each pair whether it counts");
  }
  for (uint32_t pair = 0; pair < record.num_pairs(); ++pair) {
    const auto byte = static_cast<uint8_t>(record.counted()[pair / 8]);
    if ((byte >> (pair % 8) & 1) != 0) pairs.push_back(pair);
  }
  return pairs;
}

}  // namespace

struct Replay::State {
  State(core::SessionConfig resolved, uint64_t version, absl::Span<const float> initial)
      : config(std::move(resolved)),
        parameters(std::make_unique<core::Parameters>(initial.size())),
        next(std::make_unique<core::Parameters>(initial.size())),
        estimate(config.search.value(), *config.layout),
        measures(initial.size()) {
    std::copy(initial.begin(), initial.end(), parameters->values.data());
    parameters->version = version;
    stepper.emplace(config, *parameters);
    estimate.Prepare();
  }

  core::SessionConfig config;
  bool is_lost = false;  // the method's state has gone another way than the server's
  std::unique_ptr<core::Parameters> parameters;
  std::unique_ptr<core::Parameters> next;
  core::LossEstimate estimate;
  core::ParameterMeasures measures;
  std::optional<core::Stepper> stepper;  // refers to `config`
};

Replay::Replay(std::unique_ptr<State> state) : state_(std::move(state)) {}
Replay::Replay(Replay&&) noexcept = default;
Replay& Replay::operator=(Replay&&) noexcept = default;
Replay::~Replay() = default;

absl::StatusOr<Replay> Replay::Begin(const v1::SessionConfig& config, uint64_t version,
                                     absl::Span<const float> parameters) {
  const core::DefaultFloatEnvironment environment;
  TALWEG_ASSIGN_OR_RETURN(core::SessionConfig resolved, server::ConfigFromProto(config));
  if (!resolved.searches()) {
    return absl::FailedPreconditionError("the session is trained by gradients: it has no losses");
  }
  if (parameters.size() != resolved.layout->num_elements()) {
    return absl::InvalidArgumentError(absl::StrCat("there are ", parameters.size(),
                                                   " parameters, the layout has ",
                                                   resolved.layout->num_elements()));
  }
  const bool keeps_state =
      resolved.method->state_bytes(*resolved.optimizer, resolved.Space()) > 0 ||
      resolved.average.value().decay > 0;
  if (version > 0 && keeps_state) {
    return absl::FailedPreconditionError(
        absl::StrCat("the session's optimizer, ", resolved.method->name,
                     ", or its average keeps a state that no pull brings: a replay must begin at "
                     "version 0"));
  }
  return Replay(std::make_unique<State>(std::move(resolved), version, parameters));
}

absl::Status Replay::Apply(const v1::WatchGenerationsResponse& message) {
  State& state = *state_;
  if (!message.has_record()) return absl::OkStatus();
  if (state.is_lost) {
    return absl::DataLossError(absl::StrCat("the replay lost its way behind version ", version()));
  }
  const core::DefaultFloatEnvironment environment;
  const v1::GenerationRecord& record = message.record();
  if (record.version() != state.parameters->version + 1) {
    return absl::FailedPreconditionError(absl::StrCat("the generation makes version ",
                                                      record.version(), ", this replay is at ",
                                                      state.parameters->version));
  }
  std::optional<core::SessionConfig> changed;
  if (message.has_config()) {
    TALWEG_ASSIGN_OR_RETURN(changed, server::ConfigFromProto(message.config()));
    TALWEG_RETURN_IF_ERROR(core::CheckLiveChange(state.config, *changed));
  }
  const core::SearchConfig& search = (changed.has_value() ? *changed : state.config).search.value();
  if (record.num_pairs() != search.num_pairs) {
    return Contradiction(absl::StrCat("has ", record.num_pairs(), " pairs, its configuration has ",
                                      search.num_pairs));
  }
  TALWEG_ASSIGN_OR_RETURN(const std::vector<uint32_t> pairs, CountedPairs(record));
  std::vector<double> losses(record.losses().begin(), record.losses().end());
  losses.insert(losses.end(), record.double_losses().begin(), record.double_losses().end());
  std::optional<double> evaluated;
  if (record.has_evaluated_loss()) evaluated = record.evaluated_loss();
  if (pairs.empty() || losses.size() != pairs.size() * search.losses_per_pair()) {
    return Contradiction(
        absl::StrCat("has ", losses.size(), " losses of ", pairs.size(), " pairs"));
  }
  if (std::any_of(losses.begin(), losses.end(), [](double loss) { return std::isnan(loss); })) {
    return Contradiction("has a loss that is not a number");
  }
  if (search.needs_evaluation() && !evaluated.has_value()) {
    return Contradiction("lacks the loss at the parameters");
  }
  // From here on nothing fails before the end.
  if (changed.has_value()) {
    state.config = *std::move(changed);
    state.stepper->Configure();
  }
  core::SearchOrder order;
  order.step.number = record.version();
  order.step.learning_rate = record.learning_rate();
  order.step.contributors = static_cast<uint32_t>(pairs.size());
  order.step.total_weight = static_cast<double>(pairs.size());
  order.generation = record.generation();
  order.sigma = record.sigma();
  order.shaped = std::make_shared<const core::ShapedLosses>(
      core::Shape(state.config.search.value(), {pairs, losses, evaluated, record.sigma()}));
  state.estimate.Set(order);
  core::Work work;
  state.stepper->AddStages(order.step, state.estimate, /*statistics=*/nullptr, *state.parameters,
                           *state.next, work);
  work.AddShards(state.next->values.size(), [&](core::Shard shard) {
    state.measures.Measure(shard, state.next->values.span());
  });
  work.RunHere();
  state.estimate.Release();
  if (state.measures.checksum() == record.parameters_checksum()) {
    state.next->version = record.version();
    std::swap(state.parameters, state.next);
    return absl::OkStatus();
  }
  state.is_lost = true;
  return absl::DataLossError(absl::StrCat("the replay of version ", record.version(),
                                          " has the checksum ", state.measures.checksum(),
                                          ", the server's has ", record.parameters_checksum(),
                                          ": they have gone different ways, pull the parameters"));
}

absl::Span<const float> Replay::parameters() const {
  return std::as_const(*state_->parameters).values.span();
}

uint64_t Replay::version() const { return state_->parameters->version; }

}  // namespace talweg
