// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/muon.h"

#include <algorithm>
#include <cmath>

#include "core/base/shard.h"
#include "core/kernels/adam_update.h"
#include "core/kernels/gradient_descent_update.h"
#include "core/kernels/momentum_update.h"
#include "core/kernels/squared_norm.h"
#include "core/linalg/newton_schulz.h"
#include "core/optimizers/choose_stores.h"
#include "core/optimizers/rounding.h"
#include "core/optimizers/tensor_walk.h"

namespace talweg::core {
namespace {

// The factor s of the header.
double ScaleOf(const MuonConfig& config, const MuonPlan::Matrix& matrix) {
  const auto rows = static_cast<double>(matrix.rows);
  const auto cols = static_cast<double>(matrix.cols);
  if (config.match_rms_adamw) return 0.2 * std::sqrt(std::max(rows, cols));
  return std::sqrt(std::max(1.0, rows / cols));
}

// The sum goes block by block, so that no cut of the vector changes it.
double NormOf(absl::Span<const float> values, Shard shard) {
  double sum = 0;
  ForEachBlock(shard, [&](Shard piece) { sum += SquaredNorm(View(values, piece)); });
  return std::sqrt(sum);
}

}  // namespace

uint64_t Muon::StateBytes(const MuonConfig&, const ParameterSpace& space) {
  const MuonPlan plan(space);
  return (space.num_elements() + plan.num_fallback_elements + plan.scratch_size) * sizeof(float);
}

Muon::Muon(const MuonConfig& config, const ParameterSpace& space)
    : config_(config),
      layout_(space.layout),
      plan_(space),
      m_(space.num_elements()),
      v_(plan_.num_fallback_elements),
      scratch_(plan_.scratch_size) {}

void Muon::Configure(const Config& config) { config_ = ValueOf<MuonConfig>(config); }

void Muon::BeginStep(uint64_t) {
  fallback_beta1_product_ *= config_.fallback_beta1;
  fallback_beta2_product_ *= config_.fallback_beta2;
}

void Muon::Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
                 absl::Span<const float> from, absl::Span<float> to) {
  const double c1 = 1 - fallback_beta1_product_;
  const double root_c2 = std::sqrt(1 - fallback_beta2_product_);
  const AdamCoefficients fallback = {.keep_m = ToFloat(config_.fallback_beta1),
                                     .take_m = ToFloat(1 - config_.fallback_beta1),
                                     .keep_v = ToFloat(config_.fallback_beta2),
                                     .take_v = ToFloat(1 - config_.fallback_beta2),
                                     .rate = ToFloat(rates.learning_rate / c1),
                                     .root_scale = ToFloat(1 / root_c2),
                                     .epsilon = ToEpsilon(config_.fallback_epsilon),
                                     .keep = KeepOf(rates)};
  // u is what momentum would make of a point at g: keep g + move m.
  const float beta = ToFloat(config_.beta);
  const float take = ToFloat(1 - config_.beta);
  const MomentumCoefficients momentum = {.keep_m = beta,
                                         .take = take,
                                         .move = config_.nesterov ? beta : 1,
                                         .keep = config_.nesterov ? take : 0};
  const Stores stores = ChooseStores(from, to);
  ForEachTensor(*layout_, shard, [&](Shard part, size_t tensor) {
    const absl::Span<const float> g = gradient.subspan(part.begin - shard.begin, part.size());
    const absl::Span<float> m = View(m_.span(), part);
    if (plan_.fallback_begin[tensor] == MuonPlan::kIsMatrix) {
      MomentumUpdate(momentum, stores, g, g, View(to, part), m);
      return;
    }
    const uint64_t v_begin = plan_.fallback_begin[tensor] + part.begin - layout_->offsets()[tensor];
    AdamUpdate(fallback, stores, g, View(from, part), View(to, part), m,
               v_.span().subspan(v_begin, part.size()), {});
  });
}

size_t Muon::NumTasks(size_t) const { return plan_.lanes.size(); }

void Muon::RunTask(size_t, size_t task, RatesOfTensor rates, absl::Span<const float> from,
                   absl::Span<float> to) {
  const MuonPlan::Lane& lane = plan_.lanes[task];
  const absl::Span<float> scratch = scratch_.span().subspan(lane.scratch_begin, lane.scratch_size);
  for (const MuonPlan::Matrix& matrix : lane.matrices) {
    const StepRates* rates_here = rates(matrix.tensor);
    if (rates_here == nullptr) continue;
    const uint64_t begin = layout_->offsets()[matrix.tensor];
    const Shard whole{begin, begin + layout_->size_of(matrix.tensor)};
    const absl::Span<float> x = View(to, whole);
    NewtonSchulz(matrix.rows, matrix.cols, config_.newton_schulz_steps,
                 std::max(NormOf(to, whole), config_.epsilon), x, scratch);
    const double rate = rates_here->learning_rate * ScaleOf(config_, matrix);
    GradientDescentUpdate(KeepOf(*rates_here), ToFloat(rate), Stores::kCached, x, View(from, whole),
                          x);
  }
}

uint64_t Muon::ScratchBytes() const { return scratch_.size() * sizeof(float); }

void Muon::VisitState(StateVisitor& visitor) {
  visitor.Slot("m", m_.span());
  visitor.Slot("v", v_.span());
  visitor.Scalar("fallback_beta1_product", fallback_beta1_product_);
  visitor.Scalar("fallback_beta2_product", fallback_beta2_product_);
}

}  // namespace talweg::core
