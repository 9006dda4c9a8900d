// SPDX-License-Identifier: Apache-2.0
//
// K-FAC: the natural gradient, with the Fisher matrix of each layer replaced by a Kronecker
// product.
//
//   V = G                                   with momentum_order AFTER, or beta 0
//   m <- beta m + (1 - beta) G;  V = m      with momentum_order BEFORE
//   U = (S + sqrt(lambda)/pi I)^-1 V (A + pi sqrt(lambda) I)^-1
//   U <- nu U,  nu = min(1, sqrt(kl_clip / sum eta^2 <U, V>)), the sum over all layers; 1 if
//   kl_clip
//               is 0, or (counted) if the sum is not positive
//   or, with `fisher_clip` c,  nu = min(1, sqrt(c / sum eta^2 <U, F U>)), F = A (x) S without
//   damping:
//               the rate is min(eta, sqrt(c / U^T F U)), which is the rule of Ba et al. Because
//               F_lambda U = V, with a and s on the diagonals, T = V A_a^-1 and Q = S_s^-1 V,
//               F U = V - a T - s Q + a s U
//   m <- beta m + (1 - beta) U;  U = m      with momentum_order AFTER
//   W <- W - eta decay W - eta U     a layer whose nu eta ||U|| is above 1e30 stays where it is,
//   and
//                                    that is counted
//
// G, V and U are matrices of the layer, [outputs, inputs + 1 for the bias]; factors, averages,
// damping and the times at which inverses are refreshed stand in core/curvature. A layer that has
// no inverses yet stays where it is, and so do all layers in the first `burn_in_steps` steps, in
// which statistics gather.
//
// With `adapt_every` T > 0 lambda is adapted (Levenberg, Marquardt), from losses that a worker
// evaluates before and after a step on the same samples:
//
//   rho = (h(W + d) - h(W)) / M(d),  M(d) = <G, d> + 1/2 <d, F_lambda d>,  d = -eta nu U
//       M(d) = - eta nu <U, G> + 1/2 (eta nu)^2 <U, V>,  for F_lambda U = V; sums over all layers
//   lambda <- lambda omega^T if rho > 3/4;  lambda / omega^T if rho < 1/4;  omega is `adapt_factor`
//
// at most once in T steps, and only from the last step that was taken.
//
// Every tensor that is in no layer takes the fallback rule:
//
//   ADAM       m <- b1 m + (1 - b1) g   v <- b2 v + (1 - b2) g^2      the fields `fallback_...`
//              W <- W - eta decay W - (eta f / c1) m / (sqrt(v / c2) + epsilon)
//              c1 = 1 - prod(b1), c2 = 1 - prod(b2)
//   MOMENTUM   m <- b1 m + (1 - b1) g   W <- W - eta decay W - eta f m
//
// where f is `fallback_rate_factor`: K-FAC's rate is near 1, and Adam's is not.
//
// Source: Martens, Grosse 2015, arXiv:1503.05671; Ba, Grosse, Martens 2017 (the clipping by the
// squared norm under F, and inverses beside the steps); Osawa et al. 2019, arXiv:1811.12019 (the
// clipping as written here). State: 4 bytes per parameter, 8 under the fallback ADAM, and those of
// Curvature. Scratch: 8 bytes per parameter of a layer. The bits are the same only on the same kind
// of CPU (core/linalg).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>
#include <vector>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/curvature/curvature.h"
#include "core/optimizers/kfac_plan.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

enum class MomentumOrder : uint8_t { kBefore, kAfter };
inline constexpr absl::string_view kMomentumOrderNames[] = {"BEFORE", "AFTER"};
inline constexpr absl::string_view kPiRuleNames[] = {"TRACE", "OFF"};
inline constexpr absl::string_view kRefreshModeNames[] = {"BACKGROUND", "SYNCHRONOUS"};
enum class Fallback : uint8_t { kAdam, kMomentum };
inline constexpr absl::string_view kFallbackNames[] = {"ADAM", "MOMENTUM"};

struct KfacConfig {
  double damping = 1e-3;  // lambda, in the unit of the loss per squared parameter
  PiRule pi = PiRule::kTrace;
  double statistics_decay = 0.95;  // share of the averages of factors kept
  bool starts_with_first = false;
  uint64_t burn_in_steps = 0;
  double kl_clip = 0;      // 0: no clipping
  double fisher_clip = 0;  // 0: no clipping
  double beta = 0.9;       // share of m kept at each step
  MomentumOrder momentum_order = MomentumOrder::kBefore;
  RefreshMode refresh = RefreshMode::kBackground;
  uint64_t refresh_every = 20;       // steps
  uint64_t refresh_each_until = 20;  // up to this step, every step refreshes within itself
  uint64_t max_inverse_age = 40;     // steps; 0: any age will do
  Fallback fallback = Fallback::kAdam;
  double fallback_rate_factor = 1;
  double fallback_beta1 = 0.9;     // share of m kept at each step
  double fallback_beta2 = 0.999;   // share of v kept at each step
  double fallback_epsilon = 1e-8;  // in the unit of the gradient
  uint64_t adapt_every = 0;        // T, steps; 0: lambda stays
  double adapt_factor = 0.95;      // omega
  double damping_min = 1e-8;       // of an adapted lambda
  double damping_max = 1e8;

  static auto Fields() {
    using C = KfacConfig;
    return std::tuple{
        Field<C, double>{"damping", &C::damping, Closed(0, 1e30)},
        ChoiceField<C, PiRule>{"pi", &C::pi, kPiRuleNames},
        Field<C, double>{"statistics_decay", &C::statistics_decay, HalfOpen(0, 1)},
        Field<C, bool>{"starts_with_first", &C::starts_with_first},
        Field<C, uint64_t>{"burn_in_steps", &C::burn_in_steps, Closed(0, 1e9)},
        Field<C, double>{"kl_clip", &C::kl_clip, AtLeast(0)},
        Field<C, double>{"beta", &C::beta, HalfOpen(0, 1)},
        ChoiceField<C, MomentumOrder>{"momentum_order", &C::momentum_order, kMomentumOrderNames,
                                      Change::kFixed},
        ChoiceField<C, RefreshMode>{"refresh", &C::refresh, kRefreshModeNames},
        Field<C, uint64_t>{"refresh_every", &C::refresh_every, Closed(1, 1e9)},
        Field<C, uint64_t>{"refresh_each_until", &C::refresh_each_until, Closed(0, 1e9)},
        Field<C, uint64_t>{"max_inverse_age", &C::max_inverse_age, Closed(0, 1e9)},
        ChoiceField<C, Fallback>{"fallback", &C::fallback, kFallbackNames, Change::kFixed},
        Field<C, double>{"fallback_rate_factor", &C::fallback_rate_factor, AtLeast(0)},
        Field<C, double>{"fallback_beta1", &C::fallback_beta1, HalfOpen(0, 1)},
        Field<C, double>{"fallback_beta2", &C::fallback_beta2, HalfOpen(0, 1)},
        Field<C, double>{"fallback_epsilon", &C::fallback_epsilon, Positive()},
        Field<C, uint64_t>{"adapt_every", &C::adapt_every, Closed(0, 1e9)},
        Field<C, double>{"adapt_factor", &C::adapt_factor, {0, 1, true, true}},
        Field<C, double>{"damping_min", &C::damping_min, Closed(0, 1e30)},
        Field<C, double>{"damping_max", &C::damping_max, OpenClosed(0, 1e30)},
        Field<C, double>{"fisher_clip", &C::fisher_clip, AtLeast(0)}};
  }
  // Fails with HYPERPARAMETER_OUT_OF_RANGE, naming the field, if fields contradict each other.
  absl::Status Validate() const;
};

// Thread-compatible, except that disjoint shards may be applied, and tasks of a pass run, at the
// same time.
class Kfac final : public Optimizer {
 public:
  using Configuration = KfacConfig;

  static uint64_t StateBytes(const KfacConfig& config, const ParameterSpace& space);

  // `config` is valid, and the layers fit the layout.
  Kfac(const KfacConfig& config, const ParameterSpace& space);

  void Configure(const Config& config) override;
  void BeginStep(uint64_t number) override;
  // Takes the whole step of elements under the fallback rule; for a layer, takes m and writes G to
  // `to`.
  void Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
             absl::Span<const float> from, absl::Span<float> to) override;
  // Begin a refresh, invert, V A^-1, S^-1 V A^-1, <U, F U>, move: in this order, none of it without
  // layers.
  size_t NumPasses() const override { return plan_.layers.empty() ? 0 : kNumPasses; }
  size_t NumTasks(size_t pass) const override;
  void RunTask(size_t pass, size_t task, RatesOfTensor rates, absl::Span<const float> from,
               absl::Span<float> to) override;
  void EndPass(size_t pass) override;
  Curvature* curvature() override { return plan_.layers.empty() ? nullptr : &curvature_; }
  uint64_t ScratchBytes() const override;
  // Slots "m" and "v" ("v" has only the elements under the fallback ADAM, one tensor after the
  // other) and those of Curvature.
  void VisitState(StateVisitor& visitor) override;

  void TakeLossChange(const LossChange& change) override;
  CurvatureNumbers CurvatureReport() const override;
  std::unique_ptr<InverseRefresh> TakeRefresh() override;

 private:
  static constexpr size_t kNumPasses = 6;

  bool HasMomentumBefore() const {
    return config_.momentum_order == MomentumOrder::kBefore && config_.beta > 0;
  }
  // Whether the layer takes part in the open step.
  bool Moves(size_t layer) const {
    return coupled_[layer] >= 0 && curvature_.HasInverses(layer) && number_ > config_.burn_in_steps;
  }
  void Clip();
  void Gather(RatesOfTensor rates);
  void MultiplyByInputs(const KfacPlan::Block& block, absl::Span<const float> v);
  void MultiplyByOutputs(size_t task, absl::Span<const float> v, absl::Span<const float> g);
  void MeasureByFisher(size_t task, absl::Span<const float> v);
  void Move(const KfacPlan::Block& block, RatesOfTensor rates, absl::Span<const float> from,
            absl::Span<float> to);
  void MovePart(const StepRates* rates, Shard shard, absl::Span<const float> u,
                absl::Span<const float> from, absl::Span<float> to);

  KfacConfig config_;
  std::shared_ptr<const Layout> layout_;
  KfacPlan plan_;
  Curvature curvature_;
  AlignedBuffer m_, v_;
  AlignedBuffer t_, u_;  // V A^-1 and U, layer by layer
  double fallback_beta1_product_ = 1, fallback_beta2_product_ = 1;
  double lambda_ = 0;
  double adapted_version_ = 0;   // made by the step that last adapted lambda
  double foretold_ = 0;          // M(d) of the last step; 0: nothing was foretold
  double foretold_version_ = 0;  // that it made
  double reduction_ratio_ = 0;   // rho
  double ratio_version_ = 0;     // of the step that it is of; 0: there is none
  double num_unclipped_ = 0;     // steps whose sum of <U, V> was not positive
  double num_too_long_ = 0;      // steps of single layers that were not taken

  // Of the open step.
  uint64_t number_ = 0;
  // By layer: its coupled decay; negative if its weight or its bias is frozen, and then both stay.
  std::vector<double> coupled_;
  std::vector<double> rates_;  // by layer: eta
  std::unique_ptr<InverseRefresh> refresh_;
  std::vector<double> products_;   // by block: <U, V>
  std::vector<double> fishers_;    // by block: <U, F U>
  std::vector<double> slopes_;     // by block: <U, G>
  std::vector<double> squares_;    // by block: <U, U>
  std::vector<bool> is_too_long_;  // by layer
  double clip_factor_ = 1;         // nu
};

}  // namespace talweg::core
