// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/mnist_es_run.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double LastTold(absl::Span<const MnistEsPoint> points, double MnistEsPoint::*value) {
  for (size_t i = points.size(); i-- > 0;) {
    if (!std::isnan(points[i].*value)) return points[i].*value;
  }
  return kNaN;
}

}  // namespace

uint64_t MnistEsRun::num_parameters() const {
  uint64_t sum = 0;
  for (size_t i = 0; i + 1 < widths.size(); ++i) sum += (widths[i] + 1) * widths[i + 1];
  return sum;
}

std::string MnistEsRun::name() const {
  return searches() ? absl::StrCat("ES, ", GroupDigits(num_pairs), " pairs") : "backpropagation";
}

double MnistEsRun::test_accuracy() const { return LastTold(points, &MnistEsPoint::test_accuracy); }
double MnistEsRun::test_loss() const { return LastTold(points, &MnistEsPoint::test_loss); }

double MnistEsRun::seconds_per_update() const {
  if (points.size() < 2) return 0;
  return points.back().seconds / static_cast<double>(points.back().update);
}

double MnistEsRun::expected_cosine() const {
  const double pairs = static_cast<double>(num_pairs);
  return std::sqrt(pairs / (pairs + static_cast<double>(num_parameters()) - 1));
}

bool MnistEsRun::cosine_fits() const {
  return std::abs(first_cosine / expected_cosine() - 1) <= 0.1;
}

double Cosine(absl::Span<const float> a, absl::Span<const float> b) {
  double product = 0;
  double of_a = 0;
  double of_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += static_cast<double>(a[i]) * b[i];
    of_a += static_cast<double>(a[i]) * a[i];
    of_b += static_cast<double>(b[i]) * b[i];
  }
  return of_a > 0 && of_b > 0 ? product / std::sqrt(of_a * of_b) : 0;
}

std::optional<AccuracyBand> BandOf(const MnistEsRun& run) {
  if (run.widths != std::vector<uint64_t>{784, 512, 512, 10} || run.num_steps != 100) {
    return std::nullopt;
  }
  switch (run.num_pairs) {
    case 0:
      return AccuracyBand{0.87, 0.90};
    case 1600:
      return AccuracyBand{0.83, 0.88};
    case 5000:
      return AccuracyBand{0.88, 0.90};
    default:
      return std::nullopt;
  }
}

}  // namespace talweg
