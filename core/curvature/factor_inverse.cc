// SPDX-License-Identifier: Apache-2.0
#include "core/curvature/factor_inverse.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/check.h"
#include "core/linalg/packed_triangle.h"

namespace talweg::core {

FactorInverse::FactorInverse(size_t n, std::vector<float> packed, double damping)
    : n_(n), packed_(std::move(packed)), damping_(damping) {
  TALWEG_CHECK(n > 0 && packed_.size() == PackedSize(n) && damping >= 0 && std::isfinite(damping));
  double magnitudes = 0;
  for (size_t row = 0; row < n; ++row) {
    magnitudes += std::abs(static_cast<double>(packed_[PackedRow(n, row)]));
  }
  least_raise_ = 1e-6 * magnitudes / static_cast<double>(n);
  const bool finite =
      std::all_of(packed_.begin(), packed_.end(), [](float value) { return std::isfinite(value); });
  if (finite) {
    Begin();
  } else {
    Fail();
  }
}

void FactorInverse::Fail() {
  is_over_ = true;
  outcome_ = InverseOutcome::kFailed;
  inverse_ = {};
  wide_ = {};
}

// Begins with the damping and in the precision that are set.
void FactorInverse::Begin() {
  next_piece_ = 0;
  if (in_double_) {
    inverse_ = {};
    if (!wide_plan_.has_value()) wide_plan_.emplace(n_);
    wide_.resize(n_ * n_);
    UnpackUpper<float, double>(n_, packed_, absl::MakeSpan(wide_));
    for (size_t row = 0; row < n_; ++row) wide_[row * n_ + row] += damping_;
    return;
  }
  if (!narrow_plan_.has_value()) narrow_plan_.emplace(n_);
  inverse_.resize(n_ * n_);
  UnpackUpper<float, float>(n_, packed_, absl::MakeSpan(inverse_));
  for (size_t row = 0; row < n_; ++row) {
    float& diagonal = inverse_[row * n_ + row];
    diagonal = static_cast<float>(static_cast<double>(diagonal) + damping_);
  }
}

bool FactorInverse::IsExact() const {
  double largest = 0;
  double largest_inverse = 0;
  for (size_t row = 0; row < n_; ++row) {
    largest = std::max(largest, static_cast<double>(packed_[PackedRow(n_, row)]) + damping_);
    largest_inverse = std::max(largest_inverse, static_cast<double>(inverse_[row * n_ + row]));
  }
  return largest * largest_inverse <= 0x1p17;
}

void FactorInverse::RaiseDamping() {
  damping_ = std::max(10 * damping_, least_raise_);
  ++num_raises_;
}

bool FactorInverse::Advance() {
  TALWEG_CHECK(!is_over_ || outcome_ == InverseOutcome::kFailed);
  if (is_over_) return false;
  const bool positive = in_double_ ? wide_plan_->Run(next_piece_, absl::MakeSpan(wide_))
                                   : narrow_plan_->Run(next_piece_, absl::MakeSpan(inverse_));
  if (!positive) {
    if (in_double_) {
      // A matrix of zeros has no damping that could be raised.
      const bool can_raise = num_raises_ < kMaxRaises && (damping_ > 0 || least_raise_ > 0);
      if (!can_raise) {
        Fail();
        return false;
      }
      RaiseDamping();
    }
    in_double_ = true;
    Begin();
    return true;
  }
  ++next_piece_;
  if (next_piece_ < (in_double_ ? wide_plan_->num_pieces() : narrow_plan_->num_pieces())) {
    return true;
  }
  if (!in_double_ && !IsExact()) {
    in_double_ = true;
    Begin();
    return true;
  }
  is_over_ = true;
  outcome_ = InverseOutcome::kFloat32;
  if (!in_double_) return false;
  inverse_.resize(n_ * n_);
  std::transform(wide_.begin(), wide_.end(), inverse_.begin(),
                 [](double value) { return static_cast<float>(value); });
  wide_ = {};
  outcome_ = num_raises_ > 0 ? InverseOutcome::kMoreDamping : InverseOutcome::kFloat64;
  // Its inverse may be beyond float32.
  const bool finite = std::all_of(inverse_.begin(), inverse_.end(),
                                  [](float value) { return std::isfinite(value); });
  if (finite) return false;
  if (num_raises_ == kMaxRaises) {
    Fail();
    return false;
  }
  RaiseDamping();
  is_over_ = false;
  Begin();
  return true;
}

}  // namespace talweg::core
