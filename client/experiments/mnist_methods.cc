// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist_methods.h"

namespace talweg {

absl::Span<const MnistMethod> MnistMethods() {
  using Optimizer = v1::Optimizer;
  static constexpr MnistMethod kMethods[] = {
      {"gradient_descent", 128, 0.4, 0.1, [](Optimizer& o) { o.mutable_gradient_descent(); }, true},
      {"momentum", 128, 0.5, 0.1, [](Optimizer& o) { o.mutable_momentum()->set_beta(0.9); }, true},
      {"nesterov", 128, 0.5, 0.1, [](Optimizer& o) { o.mutable_nesterov()->set_beta(0.9); }},
      {"adagrad", 128, 0.01, 0.1, [](Optimizer& o) { o.mutable_adagrad(); }},
      {"rmsprop", 128, 0.001, 0.1, [](Optimizer& o) { o.mutable_rmsprop(); }},
      {"adam", 128, 0.002, 0.1, [](Optimizer& o) { o.mutable_adam(); }, true},
      {"adamw", 128, 0.002, 0.1, [](Optimizer& o) { o.mutable_adamw(); }},
      {"nadam", 128, 0.002, 0.1, [](Optimizer& o) { o.mutable_nadam(); }},
      {"lion", 128, 0.0003, 0.1, [](Optimizer& o) { o.mutable_lion(); }},
  };
  return kMethods;
}

}  // namespace talweg
