// SPDX-License-Identifier: Apache-2.0
//
// Adam: steps scaled per coordinate by running averages of the gradient and of its square.
//
//   m <- beta1 m + (1 - beta1) g             v <- beta2 v + (1 - beta2) g^2
//   TORCH  W <- W - (eta / c1) m / (sqrt(v) / sqrt(c2) + epsilon)    c1 = 1 - b1
//   KERAS  W <- W - eta sqrt(c2) / c1 m / (sqrt(v) + epsilon)        c2 = 1 - b2
//   PAPER  W <- W - eta (m / c1) / (sqrt(v / c2) + epsilon)
//   FEDERATED  W <- W - eta m / (sqrt(v) + epsilon)                  v starts at epsilon^2
//
// TORCH and PAPER are one step written in two ways, and are computed alike. KERAS is the paper's
// remark on efficiency; its epsilon weighs more in the first steps. FEDERATED is FedAdam: -g is the
// mean of the distances by which workers have moved W, and epsilon is called tau there; v starts at
// the square of epsilon instead of being corrected. With AMSGrad the running maximum of v takes the
// place of v, in every dialect. b1 is the product of the beta1 of each step so far, which is
// beta1^t if beta1 was never changed, and b2 that of beta2. So 1 - b1 is the sum of the weights
// that all gradients have in m, also after a live change, and no mathematics library is needed.
//
// Source: arXiv:1412.6980, algorithm 1 and section 2; arXiv:1904.09237 (AMSGrad); arXiv:2003.00295,
// algorithm 2 (FEDERATED).
// State: 8 bytes per parameter, 12 with AMSGrad. A step reads and writes 28 bytes per parameter, or
// 36.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

// The fields of a config C that is an AdamConfig, with the dialects that C speaks.
template <class C>
auto AdamFields(DialectSet dialects) {
  return std::tuple{Field<C, double>{"beta1", &C::beta1, HalfOpen(0, 1)},
                    Field<C, double>{"beta2", &C::beta2, HalfOpen(0, 1)},
                    Field<C, double>{"epsilon", &C::epsilon, Positive()},
                    DialectField<C>{"dialect", &C::dialect, dialects},
                    Field<C, bool>{"amsgrad", &C::amsgrad, {}, Change::kFixed}};
}

struct AdamConfig {
  double beta1 = 0.9;     // share of m kept at each step
  double beta2 = 0.999;   // share of v kept at each step
  double epsilon = 1e-8;  // in the unit of the gradient; below 1.2e-38 it counts as 1.2e-38
  Dialect dialect = Dialect::kTorch;
  bool amsgrad = false;

  static auto Fields() {
    return AdamFields<AdamConfig>(
        {Dialect::kTorch, Dialect::kKeras, Dialect::kPaper, Dialect::kFederated});
  }
};

// Thread-compatible, except that disjoint shards may be applied at the same time.
class Adam : public Optimizer {
 public:
  using Configuration = AdamConfig;

  static uint64_t StateBytes(const AdamConfig& config, const ParameterSpace& space);

  // `config` is valid.
  Adam(const AdamConfig& config, const ParameterSpace& space);

  void Configure(const Config& config) override;
  void BeginStep(uint64_t number) override;
  void Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
             absl::Span<const float> from, absl::Span<float> to) override;
  // Slots "m", "v" and, with AMSGrad, "v_max"; scalars "beta1_product" and "beta2_product".
  void VisitState(StateVisitor& visitor) override;

 protected:
  // Takes effect with the next BeginStep.
  void Take(const AdamConfig& config) { config_ = config; }

 private:
  AdamConfig config_;
  AlignedBuffer m_, v_;
  AlignedBuffer v_max_;  // empty without AMSGrad
  double beta1_product_ = 1, beta2_product_ = 1;
};

}  // namespace talweg::core
