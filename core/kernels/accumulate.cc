// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/accumulate.h"

#include <cstddef>

namespace talweg::core {

void AddTo(absl::Span<const float> x, absl::Span<double> sums) {
  for (size_t i = 0; i < x.size(); ++i) sums[i] += static_cast<double>(x[i]);
}

void TakeMean(uint32_t count, absl::Span<double> sums, absl::Span<float> x) {
  const double divisor = count;
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>((sums[i] + static_cast<double>(x[i])) / divisor);
    sums[i] = 0;
  }
}

}  // namespace talweg::core
