// SPDX-License-Identifier: Apache-2.0
//
// LAMB: Adam's direction, and a step whose length is a share of each tensor's own.
//
//   m <- beta1 m + (1 - beta1) g             v <- beta2 v + (1 - beta2) g^2
//   r = (m / c1) / (sqrt(v / c2) + epsilon) + decay W       c1 = 1 - b1, c2 = 1 - b2
//   W <- W - eta ||W|| / ||r|| r             norms of one tensor; their ratio is 1 if one is 0
//
// LAMB is made for large batches: the rate says how far a tensor moves, compared with its size.
// `decay` is the session's decoupled weight decay, which is part of r here. b1 is the product of
// the beta1 of each step so far, beta1^t if beta1 was never changed, and b2 that of beta2.
//
// Apply writes r to the place of the next version, and sums the squares of each piece (what a block
// and a tensor have in common). When all sums are there, one more pass takes the step. So the
// method needs no vector beyond the two of Adam.
//
// Source: arXiv:1904.00962, algorithm 2, phi the identity, with the bias corrections of its text.
// State: 8 bytes per parameter. A step reads and writes 40 bytes per parameter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>
#include <vector>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/kernels/lamb_update.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

struct LambConfig {
  double beta1 = 0.9;     // share of m kept at each step
  double beta2 = 0.999;   // share of v kept at each step
  double epsilon = 1e-6;  // in the unit of the gradient; below 1.2e-38 it counts as 1.2e-38

  static auto Fields() {
    using C = LambConfig;
    return std::tuple{Field<C, double>{"beta1", &C::beta1, HalfOpen(0, 1)},
                      Field<C, double>{"beta2", &C::beta2, HalfOpen(0, 1)},
                      Field<C, double>{"epsilon", &C::epsilon, Positive()}};
  }
};

// Thread-compatible, except that disjoint shards may be applied, and tasks run, at the same time.
class Lamb final : public Optimizer {
 public:
  using Configuration = LambConfig;

  static uint64_t StateBytes(const LambConfig& config, const ParameterSpace& space);

  // `config` is valid.
  Lamb(const LambConfig& config, const ParameterSpace& space);

  void Configure(const Config& config) override;
  void BeginStep(uint64_t number) override;
  void Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
             absl::Span<const float> from, absl::Span<float> to) override;
  // One pass with one task per shard.
  size_t NumPasses() const override { return 1; }
  size_t NumTasks(size_t pass) const override;
  void RunTask(size_t pass, size_t task, RatesOfTensor rates, absl::Span<const float> from,
               absl::Span<float> to) override;
  void EndPass(size_t pass) override;
  uint64_t ScratchBytes() const override;
  // Slots "m" and "v"; scalars "beta1_product" and "beta2_product".
  void VisitState(StateVisitor& visitor) override;

 private:
  LambConfig config_;
  std::shared_ptr<const Layout> layout_;
  AlignedBuffer m_, v_;
  double beta1_product_ = 1, beta2_product_ = 1;
  std::vector<LambSums> sums_;  // by block + tensor, which numbers the pieces in order
  std::vector<double> ratios_;  // by tensor
};

}  // namespace talweg::core
