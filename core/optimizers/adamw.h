// SPDX-License-Identifier: Apache-2.0
//
// AdamW: Adam whose weight decay acts on the parameters and not through the gradient.
//
//   W <- W (1 - eta decay), then a step of Adam (see adam.h; dialects TORCH, KERAS and PAPER)
//
// Every method can decay in this way: a session says how much in `weight_decay.decoupled`, and the
// decay arrives with the rates of a step. AdamW differs from Adam only in the default: the decay is
// 0.01 if the session does not set it, as in torch.optim. With 0 it is Adam.
//
// Source: arXiv:1711.05101, algorithm 2, with eta in the decay as torch.optim.AdamW has it.
// State: 8 bytes per parameter, 12 with AMSGrad. A step reads and writes 28 bytes per parameter, or
// 36.
#pragma once

#include "core/optimizers/adam.h"

namespace talweg::core {

struct AdamWConfig : AdamConfig {
  static auto Fields() {
    return AdamFields<AdamWConfig>({Dialect::kTorch, Dialect::kKeras, Dialect::kPaper});
  }
};

// Thread-compatible, except that disjoint shards may be applied at the same time.
class AdamW final : public Adam {
 public:
  using Configuration = AdamWConfig;
  using Adam::Adam;

  void Configure(const Config& config) override { Take(ValueOf<AdamWConfig>(config)); }
};

inline constexpr double kAdamWDecay = 0.01;

}  // namespace talweg::core
