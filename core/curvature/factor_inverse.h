// SPDX-License-Identifier: Apache-2.0
//
// The damped inverse of one Kronecker factor, (A + d I)^-1, computed piece by piece, so that a
// background job can be put aside between any two of them. It is float32, symmetric, finite in
// every case, or it is not there.
//
// A factor that is not positive definite by float32 is tried again in double, and so is one whose
// inverse float32 cannot hold to a few parts in a hundred: the error grows as eps kappa, and
//   kappa(M) = ||M|| ||M^-1||  >=  (largest M_ii) (largest (M^-1)_ii),  which may be 2^17 at most.
// If double fails too the factor has an eigenvalue below -d, because rounding or a hostile sender
// made it indefinite: d is raised tenfold, at least to 1e-6 of the mean of the diagonal's
// magnitudes, up to kMaxRaises times. If all of them fail, or the factor is not finite, there is no
// inverse, and the caller goes on with the one from before.
//
// Source: Martens, Grosse 2015, arXiv:1503.05671, section 6 (damping); core/linalg/spd_inverse.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "core/linalg/spd_inverse.h"

namespace talweg::core {

enum class InverseOutcome : uint8_t {
  kFloat32,      // positive definite, as it should be
  kFloat64,      // only by double, or not exactly enough in float32
  kMoreDamping,  // only with more damping than was asked for
  kFailed,       // there is no inverse
};

// A computation under way. Thread-compatible; movable. Any thread may run any piece.
class FactorInverse {
 public:
  static constexpr int kMaxRaises = 8;

  // `packed` is the upper triangle of a matrix of n rows (core/linalg/packed_triangle.h); `damping`
  // is finite and >= 0.
  FactorInverse(size_t n, std::vector<float> packed, double damping);

  // Runs the next piece. Returns whether there is another one.
  bool Advance();

  // Once Advance has returned false.
  InverseOutcome outcome() const { return outcome_; }
  // What was added to the diagonal in the end.
  double damping() const { return damping_; }
  // [n, n], row-major; empty if it failed. Hands it over.
  std::vector<float> TakeInverse() { return std::move(inverse_); }

  // Bytes that a computation of n rows takes at most, its result included.
  static uint64_t MemoryBytes(uint64_t n) {
    return n * (n + 1) / 2 * sizeof(float) + n * n * (sizeof(float) + sizeof(double));
  }

 private:
  void Begin();
  void Fail();
  // Whether the float32 inverse is exact enough.
  bool IsExact() const;
  void RaiseDamping();

  size_t n_;
  std::vector<float> packed_;
  double damping_;
  double least_raise_ = 0;  // what the first raise brings at least
  int num_raises_ = 0;
  bool in_double_ = false;
  InverseOutcome outcome_ = InverseOutcome::kFailed;
  std::vector<float> inverse_;
  std::vector<double> wide_;  // only in double
  std::optional<SpdInverse<float>> narrow_plan_;
  std::optional<SpdInverse<double>> wide_plan_;
  size_t next_piece_ = 0;
  bool is_over_ = false;
};

}  // namespace talweg::core
