// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/mnist_methods.h"

namespace talweg {

absl::Span<const MnistMethod> MnistMethods() {
  using Optimizer = v1::Optimizer;
  static constexpr MnistMethod kMethods[] = {
      {"gradient_descent", 128, 0.4, 0.1, [](Optimizer& o) { o.mutable_gradient_descent(); }, true},
      {"momentum", 128, 0.5, 0.1, [](Optimizer& o) { o.mutable_momentum()->set_beta(0.9); }, true},
      {"nesterov", 128, 1.0, 0.1, [](Optimizer& o) { o.mutable_nesterov()->set_beta(0.9); }},
      {"adagrad", 128, 0.03, 0.1, [](Optimizer& o) { o.mutable_adagrad(); }},
      {"rmsprop", 128, 0.002, 0.1, [](Optimizer& o) { o.mutable_rmsprop(); }},
      {"adam", 128, 0.002, 0.1, [](Optimizer& o) { o.mutable_adam(); }, true},
      {"adamw", 128, 0.003, 0.1, [](Optimizer& o) { o.mutable_adamw(); }},
      {"nadam", 128, 0.002, 0.1, [](Optimizer& o) { o.mutable_nadam(); }},
      {"lion", 128, 0.0003, 0.1, [](Optimizer& o) { o.mutable_lion(); }},
      // For large batches.
      {"lamb", 512, 0.02, 0.1, [](Optimizer& o) { o.mutable_lamb(); }},
      // A step costs several gradients of a small batch.
      {"muon", 512, 0.005, 0.1, [](Optimizer& o) { o.mutable_muon(); }},
  };
  return kMethods;
}

}  // namespace talweg
