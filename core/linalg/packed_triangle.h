// SPDX-License-Identifier: Apache-2.0
//
// The upper triangle of a symmetric matrix as one vector: its rows, each from the diagonal on.
//
//   n = 3:   a00 a01 a02 a11 a12 a22
//
// It takes n (n + 1) / 2 numbers instead of n^2, and is how factors travel and are averaged.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "core/base/check.h"

namespace talweg::core {

constexpr uint64_t PackedSize(uint64_t n) { return n * (n + 1) / 2; }

// Where row `row` begins, which is where its diagonal element stands.
constexpr uint64_t PackedRow(uint64_t n, uint64_t row) { return row * n - row * (row - 1) / 2; }

// Writes the triangle to the upper triangle of `a`, [n, n], row-major; the rest of `a` stays.
template <class From, class To>
void UnpackUpper(size_t n, absl::Span<const From> packed, absl::Span<To> a) {
  TALWEG_CHECK(packed.size() == PackedSize(n) && a.size() == n * n);
  const From* next = packed.data();
  for (size_t row = 0; row < n; ++row) {
    for (size_t col = row; col < n; ++col) a[row * n + col] = static_cast<To>(*next++);
  }
}

// The sum of the diagonal, in double.
inline double PackedTrace(size_t n, absl::Span<const float> packed) {
  TALWEG_CHECK(packed.size() == PackedSize(n));
  double trace = 0;
  for (size_t row = 0; row < n; ++row) trace += static_cast<double>(packed[PackedRow(n, row)]);
  return trace;
}

}  // namespace talweg::core
