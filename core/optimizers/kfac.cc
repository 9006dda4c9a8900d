// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/kfac.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/kernels/adam_update.h"
#include "core/kernels/gradient_descent_update.h"
#include "core/kernels/momentum_update.h"
#include "core/linalg/product.h"
#include "core/optimizers/choose_stores.h"
#include "core/optimizers/rounding.h"
#include "core/optimizers/tensor_walk.h"

namespace talweg::core {
namespace {

enum Pass : size_t { kGather, kInvert, kByInputs, kByOutputs, kByFisher, kMove };

// The sum of products in double, in a fixed order.
double Dot(const float* a, const float* b, size_t size) {
  constexpr size_t kLanes = 8;
  double lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] += static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
    }
  }
  for (size_t lane = 0; i < size; ++i, ++lane) {
    lanes[lane] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

uint64_t Kfac::StateBytes(const KfacConfig& config, const ParameterSpace& space) {
  const KfacPlan plan(space);
  const uint64_t v = config.fallback == Fallback::kAdam ? plan.num_fallback_elements : 0;
  return (space.num_elements() + v + 2 * plan.scratch_size) * sizeof(float) +
         Curvature::StateBytes(space.layers) + Curvature::RefreshBytes(space.layers);
}

Kfac::Kfac(const KfacConfig& config, const ParameterSpace& space)
    : config_(config),
      layout_(space.layout),
      plan_(space),
      curvature_(space.layers),
      m_(space.num_elements()),
      v_(config.fallback == Fallback::kAdam ? plan_.num_fallback_elements : 0),
      t_(plan_.scratch_size),
      u_(plan_.scratch_size),
      lambda_(config.damping),
      coupled_(plan_.layers.size()),
      rates_(plan_.layers.size()),
      products_(plan_.blocks.size()),
      fishers_(plan_.blocks.size()),
      slopes_(plan_.blocks.size()),
      squares_(plan_.blocks.size()),
      is_too_long_(plan_.layers.size()) {}

absl::Status KfacConfig::Validate() const {
  const auto wrong = [](absl::string_view field, absl::string_view why) {
    return MakeError(Reason::kHyperparameterOutOfRange, why, field);
  };
  if (kl_clip > 0 && fisher_clip > 0) {
    return wrong("fisher_clip", "a step is clipped by kl_clip or by fisher_clip, not by both");
  }
  if (adapt_every == 0) return absl::OkStatus();
  if (momentum_order == MomentumOrder::kAfter && beta > 0) {
    return wrong("adapt_every",
                 "adapt_every needs momentum_order BEFORE: the model foretells no other step");
  }
  if (damping_min > damping_max) {
    return wrong("damping_min", absl::StrCat("damping_min is ", damping_min,
                                             ", above damping_max, which is ", damping_max));
  }
  return absl::OkStatus();
}

void Kfac::Configure(const Config& config) {
  const KfacConfig& changed = ValueOf<KfacConfig>(config);
  if (changed.damping != config_.damping) lambda_ = changed.damping;
  config_ = changed;
}

void Kfac::TakeLossChange(const LossChange& change) {
  const auto version = static_cast<double>(change.version);
  if (config_.adapt_every == 0 || version != foretold_version_ || !(foretold_ < 0)) return;
  const double ratio = (change.after - change.before) / foretold_;
  if (!std::isfinite(ratio)) return;
  reduction_ratio_ = ratio;
  ratio_version_ = version;
  const auto steps = static_cast<double>(config_.adapt_every);
  if (version - adapted_version_ < steps) return;
  adapted_version_ = version;
  const double factor = std::pow(config_.adapt_factor, steps);
  if (ratio > 0.75) lambda_ *= factor;
  if (ratio < 0.25) lambda_ /= factor;
  lambda_ = std::clamp(lambda_, config_.damping_min, config_.damping_max);
}

void Kfac::BeginStep(uint64_t number) {
  number_ = number;
  fallback_beta1_product_ *= config_.fallback_beta1;
  fallback_beta2_product_ *= config_.fallback_beta2;
  curvature_.BeginStep(number, {.lambda = lambda_,
                                .pi = config_.pi,
                                .kept = config_.statistics_decay,
                                .starts_with_first = config_.starts_with_first,
                                .refresh = config_.refresh,
                                .refresh_every = config_.refresh_every,
                                .refresh_each_until = config_.refresh_each_until,
                                .max_inverse_age = config_.max_inverse_age});
}

void Kfac::Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
                 absl::Span<const float> from, absl::Span<float> to) {
  const double eta = rates.learning_rate * config_.fallback_rate_factor;
  const float beta1 = ToFloat(config_.fallback_beta1);
  const float take1 = ToFloat(1 - config_.fallback_beta1);
  const bool is_adam = config_.fallback == Fallback::kAdam;
  const AdamCoefficients adam = {.keep_m = beta1,
                                 .take_m = take1,
                                 .keep_v = ToFloat(config_.fallback_beta2),
                                 .take_v = ToFloat(1 - config_.fallback_beta2),
                                 .rate = ToFloat(eta / (1 - fallback_beta1_product_)),
                                 .root_scale = ToFloat(1 / std::sqrt(1 - fallback_beta2_product_)),
                                 .epsilon = ToEpsilon(config_.fallback_epsilon),
                                 .keep = KeepOf(rates)};
  const MomentumCoefficients momentum = {
      .keep_m = beta1, .take = take1, .move = -ToFloat(eta), .keep = KeepOf(rates)};
  // m of a layer; and G goes to `to`, for it is G + 0 m.
  const MomentumCoefficients before = {
      .keep_m = ToFloat(config_.beta), .take = ToFloat(1 - config_.beta), .move = 0, .keep = 1};
  const Stores stores = ChooseStores(from, to);
  ForEachTensor(*layout_, shard, [&](Shard part, size_t tensor) {
    const absl::Span<const float> g = gradient.subspan(part.begin - shard.begin, part.size());
    const absl::Span<float> m = View(m_.span(), part);
    const uint64_t fallback_begin = plan_.fallback_begin[tensor];
    if (fallback_begin != KfacPlan::kIsInLayer) {
      if (!is_adam) return MomentumUpdate(momentum, stores, g, View(from, part), View(to, part), m);
      const uint64_t v_begin = fallback_begin + part.begin - layout_->offsets()[tensor];
      AdamUpdate(adam, stores, g, View(from, part), View(to, part), m,
                 v_.span().subspan(v_begin, part.size()), {});
    } else if (HasMomentumBefore()) {
      MomentumUpdate(before, Stores::kCached, g, g, View(to, part), m);
    } else {
      std::copy(g.begin(), g.end(), to.begin() + static_cast<ptrdiff_t>(part.begin));
    }
  });
}

size_t Kfac::NumTasks(size_t pass) const {
  switch (pass) {
    case kGather:
      return 1;
    case kInvert:
      return refresh_ != nullptr ? refresh_->num_tasks() : 0;
    case kByFisher:
      return config_.fisher_clip > 0 ? plan_.blocks.size() : 0;
    default:
      return plan_.blocks.size();
  }
}

void Kfac::RunTask(size_t pass, size_t task, RatesOfTensor rates, absl::Span<const float> from,
                   absl::Span<float> to) {
  const absl::Span<const float> v = HasMomentumBefore() ? absl::Span<const float>(m_.span()) : to;
  switch (pass) {
    case kGather:
      return Gather(rates);
    case kInvert:
      while (refresh_->Advance(task)) {
      }
      return;
    case kByInputs:
      return MultiplyByInputs(plan_.blocks[task], v);
    case kByOutputs:
      return MultiplyByOutputs(task, v, to);
    case kByFisher:
      return MeasureByFisher(task, v);
    default:
      return Move(plan_.blocks[task], rates, from, to);
  }
}

// What the other passes need to know of the layers' rates.
void Kfac::Gather(RatesOfTensor rates) {
  for (size_t layer = 0; layer < plan_.layers.size(); ++layer) {
    const KroneckerLayer& shape = plan_.layers[layer].shape;
    const StepRates* of_weight = rates(shape.weight);
    const bool frozen =
        of_weight == nullptr || (shape.bias.has_value() && rates(*shape.bias) == nullptr);
    coupled_[layer] = frozen ? -1 : of_weight->coupled;
    rates_[layer] = frozen ? 0 : of_weight->learning_rate;
  }
  if (curvature_.NeedsRefresh()) refresh_ = TakeRefresh();
}

std::unique_ptr<InverseRefresh> Kfac::TakeRefresh() {
  std::vector<double> coupled = coupled_;
  for (double& one : coupled) one = std::max(one, 0.0);
  return curvature_.BeginRefresh(coupled);
}

// T = V A^-1 for the rows of the block.
void Kfac::MultiplyByInputs(const KfacPlan::Block& block, absl::Span<const float> v) {
  if (!Moves(block.layer)) return;
  const KfacPlan::Layer& layer = plan_.layers[block.layer];
  const uint64_t inputs = layer.shape.inputs;
  const uint64_t outputs = layer.shape.outputs;
  const uint64_t side = layer.shape.input_side();
  const float* inverse = curvature_.Inverse(block.layer, 0).data();
  const float* weight = v.data() + layer.weight_begin;
  const MatrixView<float> rows = layer.shape.orientation == Orientation::kOutIn
                                     ? MatrixView<float>{weight + block.begin * inputs, inputs}
                                     : MatrixView<float>{weight + block.begin, outputs, true};
  float* t = t_.data() + layer.t_begin + block.begin * side;
  Multiply<float>(block.size(), side, inputs, rows, {inverse, side}, 0, t, side);
  if (!layer.shape.bias.has_value()) return;
  AddOuterProduct<float>(block.size(), side, v.data() + layer.bias_begin + block.begin, 1,
                         inverse + inputs * side, t, side);
}

// U = S^-1 T for the rows of the block; <U, V>, <U, G> and <U, U> over them.
void Kfac::MultiplyByOutputs(size_t task, absl::Span<const float> v, absl::Span<const float> g) {
  const KfacPlan::Block& block = plan_.blocks[task];
  products_[task] = slopes_[task] = squares_[task] = 0;
  if (!Moves(block.layer)) return;
  const KfacPlan::Layer& layer = plan_.layers[block.layer];
  const uint64_t inputs = layer.shape.inputs;
  const uint64_t outputs = layer.shape.outputs;
  const uint64_t side = layer.shape.input_side();
  const float* inverse = curvature_.Inverse(block.layer, 1).data();
  const float* t = t_.data() + layer.t_begin;
  float* u = u_.data() + layer.u_begin;
  // Adds what `size` elements contribute, from `in_u` on in U and from `in_vector` on in V and G.
  const auto add = [&](uint64_t in_u, uint64_t in_vector, uint64_t size) {
    products_[task] += Dot(u + in_u, v.data() + in_vector, size);
    squares_[task] += Dot(u + in_u, u + in_u, size);
    if (config_.adapt_every > 0) slopes_[task] += Dot(u + in_u, g.data() + in_vector, size);
  };
  if (layer.shape.orientation == Orientation::kOutIn) {
    const uint64_t begin = block.begin * inputs;
    Multiply<float>(block.size(), inputs, outputs, {inverse + block.begin * outputs, outputs},
                    {t, side}, 0, u + begin, inputs);
    add(begin, layer.weight_begin + begin, block.size() * inputs);
  } else {
    // The same transposed, because the weight is: T^T S^-1, of which these are columns.
    Multiply<float>(inputs, block.size(), outputs, {t, side, true},
                    {inverse + block.begin, outputs}, 0, u + block.begin, outputs);
    for (uint64_t row = 0; row < inputs; ++row) {
      const uint64_t begin = row * outputs + block.begin;
      add(begin, layer.weight_begin + begin, block.size());
    }
  }
  if (!layer.shape.bias.has_value()) return;
  const uint64_t begin = layer.num_weights() + block.begin;
  Multiply<float>(block.size(), 1, outputs, {inverse + block.begin * outputs, outputs},
                  {t + inputs, side}, 0, u + begin, 1);
  add(begin, layer.bias_begin + block.begin, block.size());
}

// <U, F U> over the rows of the block. T of these rows gives its place to Q.
void Kfac::MeasureByFisher(size_t task, absl::Span<const float> v) {
  const KfacPlan::Block& block = plan_.blocks[task];
  fishers_[task] = 0;
  if (!Moves(block.layer)) return;
  const KfacPlan::Layer& layer = plan_.layers[block.layer];
  const uint64_t inputs = layer.shape.inputs;
  const uint64_t outputs = layer.shape.outputs;
  const uint64_t side = layer.shape.input_side();
  const bool is_out_in = layer.shape.orientation == Orientation::kOutIn;
  float* t = t_.data() + layer.t_begin;
  const float* u = u_.data() + layer.u_begin;
  // <U, X> for X in the place of T, [outputs, side].
  const auto product = [&] {
    double sum = 0;
    for (uint64_t row = block.begin; row < block.end; ++row) {
      const float* x = t + row * side;
      if (is_out_in) {
        sum += Dot(u + row * inputs, x, inputs);
      } else {
        for (uint64_t col = 0; col < inputs; ++col) {
          sum += static_cast<double>(u[col * outputs + row]) * static_cast<double>(x[col]);
        }
      }
      if (layer.shape.bias.has_value()) {
        sum += static_cast<double>(u[layer.num_weights() + row]) * static_cast<double>(x[inputs]);
      }
    }
    return sum;
  };
  const double a = curvature_.DampingOf(block.layer, 0);
  const double s = curvature_.DampingOf(block.layer, 1);
  const double by_inputs = product();
  const float* inverse = curvature_.Inverse(block.layer, 1).data() + block.begin * outputs;
  float* q = t + block.begin * side;
  const float* weight = v.data() + layer.weight_begin;
  Multiply<float>(block.size(), inputs, outputs, {inverse, outputs},
                  {weight, is_out_in ? inputs : outputs, !is_out_in}, 0, q, side);
  if (layer.shape.bias.has_value()) {
    Multiply<float>(block.size(), 1, outputs, {inverse, outputs}, {v.data() + layer.bias_begin, 1},
                    0, q + inputs, side);
  }
  fishers_[task] = products_[task] - a * by_inputs - s * product() + a * s * squares_[task];
}

void Kfac::EndPass(size_t pass) {
  // Pass 0 is that of Apply.
  if (pass == kInvert + 1 && refresh_ != nullptr) {
    curvature_.Install(*refresh_);
    refresh_.reset();
  }
  if (pass == kByFisher + 1) Clip();
}

void Kfac::Clip() {
  constexpr double kLongest = 1e30;
  std::vector<double> products(plan_.layers.size()), squares(plan_.layers.size());
  std::vector<double> slopes(plan_.layers.size()), lengths(plan_.layers.size());
  const bool by_fisher = config_.fisher_clip > 0;
  for (size_t block = 0; block < plan_.blocks.size(); ++block) {
    products[plan_.blocks[block].layer] += products_[block];
    squares[plan_.blocks[block].layer] += squares_[block];
    slopes[plan_.blocks[block].layer] += slopes_[block];
    lengths[plan_.blocks[block].layer] += by_fisher ? fishers_[block] : products_[block];
  }
  // What is not finite is too long.
  const auto is_too_long = [&](size_t layer, double factor) {
    return !(rates_[layer] * factor * std::sqrt(squares[layer]) <= kLongest &&
             std::isfinite(products[layer]));
  };
  clip_factor_ = 1;
  double sum = 0;
  bool any = false;
  for (size_t layer = 0; layer < plan_.layers.size(); ++layer) {
    if (!Moves(layer) || !std::isfinite(products[layer])) continue;
    any = true;
    sum += rates_[layer] * rates_[layer] * lengths[layer];
  }
  const double most = by_fisher ? config_.fisher_clip : config_.kl_clip;
  if (any && most > 0) {
    if (sum > 0) {
      clip_factor_ = std::min(1.0, std::sqrt(most / sum));
    } else {
      ++num_unclipped_;
    }
  }
  for (size_t layer = 0; layer < plan_.layers.size(); ++layer) {
    is_too_long_[layer] = Moves(layer) && is_too_long(layer, clip_factor_);
    if (is_too_long_[layer]) ++num_too_long_;
  }
  foretold_ = 0;
  foretold_version_ = static_cast<double>(number_);
  for (size_t layer = 0; layer < plan_.layers.size(); ++layer) {
    if (!Moves(layer) || is_too_long_[layer]) continue;
    const double length = rates_[layer] * clip_factor_;
    foretold_ += length * (length / 2 * products[layer] - slopes[layer]);
  }
}

void Kfac::Move(const KfacPlan::Block& block, RatesOfTensor rates, absl::Span<const float> from,
                absl::Span<float> to) {
  const KfacPlan::Layer& layer = plan_.layers[block.layer];
  const absl::Span<const float> u = u_.span().subspan(layer.u_begin);
  const StepRates* of_weight = rates(layer.shape.weight);
  // The weight is cut evenly, whatever rows the block has.
  const uint64_t num_weights = layer.num_weights();
  const uint64_t begin = block.begin * num_weights / layer.shape.outputs;
  const uint64_t end = block.end * num_weights / layer.shape.outputs;
  const bool moves = Moves(block.layer) && !is_too_long_[block.layer];
  MovePart(moves ? of_weight : nullptr, {layer.weight_begin + begin, layer.weight_begin + end},
           u.subspan(begin, end - begin), from, to);
  if (!layer.shape.bias.has_value()) return;
  MovePart(moves ? rates(*layer.shape.bias) : nullptr,
           {layer.bias_begin + block.begin, layer.bias_begin + block.end},
           u.subspan(num_weights + block.begin, block.size()), from, to);
}

// `rates` null: the elements stay where they are.
void Kfac::MovePart(const StepRates* rates, Shard shard, absl::Span<const float> u,
                    absl::Span<const float> from, absl::Span<float> to) {
  const absl::Span<const float> old_values = View(from, shard);
  const absl::Span<float> new_values = View(to, shard);
  if (rates == nullptr) {
    std::copy(old_values.begin(), old_values.end(), new_values.begin());
    return;
  }
  const double eta = rates->learning_rate;
  if (config_.momentum_order == MomentumOrder::kAfter && config_.beta > 0) {
    const MomentumCoefficients after = {.keep_m = ToFloat(config_.beta),
                                        .take = ToFloat((1 - config_.beta) * clip_factor_),
                                        .move = -ToFloat(eta),
                                        .keep = KeepOf(*rates)};
    MomentumUpdate(after, Stores::kCached, u, old_values, new_values, View(m_.span(), shard));
  } else {
    GradientDescentUpdate(KeepOf(*rates), ToFloat(eta * clip_factor_), Stores::kCached, u,
                          old_values, new_values);
  }
}

CurvatureNumbers Kfac::CurvatureReport() const {
  CurvatureNumbers numbers;
  numbers.damping = lambda_;
  if (ratio_version_ > 0) numbers.reduction_ratio = reduction_ratio_;
  numbers.step_clip_factor = clip_factor_;
  numbers.inverse_version = curvature_.InverseVersion();
  if (numbers.inverse_version > 0) numbers.inverse_age_steps = number_ - numbers.inverse_version;
  numbers.num_layers_without_inverse = static_cast<uint32_t>(curvature_.NumWithoutInverses());
  numbers.num_raised_dampings = curvature_.num_raised();
  numbers.num_failed_inverses = curvature_.num_failed();
  numbers.num_unclipped_steps = static_cast<uint64_t>(num_unclipped_);
  numbers.num_too_long_steps = static_cast<uint64_t>(num_too_long_);
  return numbers;
}

uint64_t Kfac::ScratchBytes() const {
  std::vector<KroneckerLayer> layers = curvature_.layers();
  return (t_.size() + u_.size()) * sizeof(float) + Curvature::RefreshBytes(layers);
}

void Kfac::VisitState(StateVisitor& visitor) {
  visitor.Slot("m", m_.span());
  visitor.Slot("v", v_.span());
  visitor.Scalar("fallback_beta1_product", fallback_beta1_product_);
  visitor.Scalar("fallback_beta2_product", fallback_beta2_product_);
  visitor.Scalar("damping", lambda_);
  visitor.Scalar("adapted_version", adapted_version_);
  visitor.Scalar("foretold_change", foretold_);
  visitor.Scalar("foretold_version", foretold_version_);
  visitor.Scalar("reduction_ratio", reduction_ratio_);
  visitor.Scalar("ratio_version", ratio_version_);
  visitor.Scalar("num_unclipped_steps", num_unclipped_);
  visitor.Scalar("num_too_long_steps", num_too_long_);
  if (!plan_.layers.empty()) curvature_.VisitState(visitor);
}

}  // namespace talweg::core
