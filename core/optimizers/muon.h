// SPDX-License-Identifier: Apache-2.0
//
// Muon: a matrix moves along its momentum, which is made orthogonal first, so that no direction
// outweighs another.
//
//   m <- beta m + (1 - beta) g
//   u = (1 - beta) g + beta m        with `nesterov`; else u = m
//   W <- W - eta decay W - eta s NewtonSchulz(u)     from X = u / max(||u||, epsilon) on
//   s = 0.2 sqrt(max(rows, cols))    with `match_rms_adamw`: a step as long as AdamW's often is
//   s = sqrt(max(1, rows / cols))    without
//
// A tensor of two dimensions or more is the matrix [first dimension, the rest]. Tensors of fewer
// dimensions, and tensors with the role "fallback" (usually embeddings and output layers), take the
// fallback rule, AdamW:
//
//   m <- beta1 m + (1 - beta1) g     v <- beta2 v + (1 - beta2) g^2      the fields `fallback_...`
//   W <- W - eta decay W - (eta / c1) m / (sqrt(v / c2) + epsilon)   c1 = 1 - b1, c2 = 1 - b2
//
// where b1 is the product of the beta1 of each step so far, beta1^t if beta1 was never changed, and
// b2 that of beta2. The rate is the same times their group's factor: `match_rms_adamw` makes one
// rate right for both. The defaults of the fallback are those that Muon is run with
// (arXiv:2502.16982); beta2 is 0.95 there.
//
// The iteration stands in core/linalg/newton_schulz.h.
//
// Source: Keller Jordan 2024; arXiv:2502.16982 (match_rms_adamw); torch.optim.Muon of PyTorch 2.9,
// which iterates in bfloat16.
// State: 4 bytes per parameter, 8 if its tensor takes the fallback. Scratch: up to 8 lanes, and per
// lane 4 bytes for each element of its largest matrix and of two squares of that matrix's shorter
// side. The bits are the same only on the same kind of CPU (core/linalg).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/optimizers/muon_plan.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

struct MuonConfig {
  double beta = 0.95;  // share of m kept at each step
  bool nesterov = true;
  uint64_t newton_schulz_steps = 5;
  bool match_rms_adamw = true;
  double fallback_beta1 = 0.9;   // share of m kept at each step
  double fallback_beta2 = 0.95;  // share of v kept at each step
  // In the unit of the gradient; below 1.2e-38 it counts as 1.2e-38.
  double fallback_epsilon = 1e-8;
  double epsilon = 1e-7;  // ||u|| counts as at least this; in the unit of the gradient

  static auto Fields() {
    using C = MuonConfig;
    return std::tuple{
        Field<C, double>{"beta", &C::beta, HalfOpen(0, 1)},
        Field<C, bool>{"nesterov", &C::nesterov},
        Field<C, uint64_t>{"newton_schulz_steps", &C::newton_schulz_steps, Closed(1, 16)},
        Field<C, bool>{"match_rms_adamw", &C::match_rms_adamw},
        Field<C, double>{"fallback_beta1", &C::fallback_beta1, HalfOpen(0, 1)},
        Field<C, double>{"fallback_beta2", &C::fallback_beta2, HalfOpen(0, 1)},
        Field<C, double>{"fallback_epsilon", &C::fallback_epsilon, Positive()},
        Field<C, double>{"epsilon", &C::epsilon, Positive()}};
  }
};

// Thread-compatible, except that disjoint shards may be applied, and tasks run, at the same time.
class Muon final : public Optimizer {
 public:
  using Configuration = MuonConfig;
  static constexpr absl::string_view kTensorRoles[] = {"fallback"};
  // The registry numbers the roles from 1 on, in this order.
  static_assert(kTensorRoles[MuonPlan::kFallback - 1] == "fallback");

  static uint64_t StateBytes(const MuonConfig& config, const ParameterSpace& space);

  // `config` is valid.
  Muon(const MuonConfig& config, const ParameterSpace& space);

  void Configure(const Config& config) override;
  void BeginStep(uint64_t number) override;
  // Takes the whole step of elements under the fallback rule; for a matrix, writes u to `to`.
  void Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
             absl::Span<const float> from, absl::Span<float> to) override;
  // One pass with one task per lane.
  size_t NumPasses() const override { return 1; }
  size_t NumTasks(size_t pass) const override;
  void RunTask(size_t pass, size_t task, RatesOfTensor rates, absl::Span<const float> from,
               absl::Span<float> to) override;
  uint64_t ScratchBytes() const override;
  // Slots "m" and "v" ("v" has only the elements under the fallback rule, one tensor after the
  // other); scalars "fallback_beta1_product" and "fallback_beta2_product".
  void VisitState(StateVisitor& visitor) override;

 private:
  MuonConfig config_;
  std::shared_ptr<const Layout> layout_;
  MuonPlan plan_;
  AlignedBuffer m_, v_;
  AlignedBuffer scratch_;  // of all lanes
  double fallback_beta1_product_ = 1, fallback_beta2_product_ = 1;
};

}  // namespace talweg::core
