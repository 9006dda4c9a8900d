// SPDX-License-Identifier: Apache-2.0
//
// The methods that the MNIST experiment compares, each with its tuned settings: one row per method.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "talweg/v1/optimizer.pb.h"

namespace talweg {

struct MnistMethod {
  absl::string_view name;  // as on the wire
  uint64_t batch_size;     // images per step
  double learning_rate;    // at the top of its cosine
  double warmup_share;     // of all steps, in [0, 1)
  void (*set)(v1::Optimizer& optimizer);
  bool by_default = false;  // whether it runs if no methods were chosen
};

// In the order in which they run: one row for each method of the catalogue.
absl::Span<const MnistMethod> MnistMethods();

}  // namespace talweg
