// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/fit_exponent.h"

#include <cmath>
#include <cstddef>

namespace talweg {

double FitExponent(absl::Span<const double> x, absl::Span<const double> y) {
  double mean_x = 0;
  double mean_y = 0;
  const double count = static_cast<double>(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    mean_x += std::log(x[i]) / count;
    mean_y += std::log(y[i]) / count;
  }
  double products = 0;
  double squares = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    products += (std::log(x[i]) - mean_x) * (std::log(y[i]) - mean_y);
    squares += (std::log(x[i]) - mean_x) * (std::log(x[i]) - mean_x);
  }
  return products / squares;
}

}  // namespace talweg
