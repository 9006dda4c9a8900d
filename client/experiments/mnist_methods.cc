// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist_methods.h"

namespace talweg {

absl::Span<const MnistMethod> MnistMethods() {
  static constexpr MnistMethod kMethods[] = {
      {"gradient_descent", 128, 0.4, 0.1,
       [](v1::Optimizer& optimizer) { optimizer.mutable_gradient_descent(); }},
      {"momentum", 128, 0.5, 0.1,
       [](v1::Optimizer& optimizer) { optimizer.mutable_momentum()->set_beta(0.9); }},
      {"adam", 128, 0.002, 0.1, [](v1::Optimizer& optimizer) { optimizer.mutable_adam(); }},
  };
  return kMethods;
}

}  // namespace talweg
