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
      // In this dialect the gradient is taken at the parameters, which come back with each step.
      {"nesterov", 128, 0.05, 0.1,
       [](v1::Optimizer& optimizer) {
         optimizer.mutable_nesterov()->set_dialect(v1::DIALECT_TORCH);
       }},
      {"adagrad", 128, 0.01, 0.1, [](v1::Optimizer& optimizer) { optimizer.mutable_adagrad(); }},
      {"rmsprop", 128, 0.001, 0.1, [](v1::Optimizer& optimizer) { optimizer.mutable_rmsprop(); }},
      {"adamw", 128, 0.002, 0.1, [](v1::Optimizer& optimizer) { optimizer.mutable_adamw(); }},
      {"nadam", 128, 0.002, 0.1, [](v1::Optimizer& optimizer) { optimizer.mutable_nadam(); }},
      {"lion", 128, 0.0003, 0.1, [](v1::Optimizer& optimizer) { optimizer.mutable_lion(); }},
  };
  return kMethods;
}

}  // namespace talweg
