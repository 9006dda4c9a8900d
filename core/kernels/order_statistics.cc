// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/order_statistics.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/order_statistics.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/kernels/elementwise-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

using Floats = hn::CappedTag<float, 16>;
using Keys = hn::RebindToSigned<Floats>;

constexpr size_t kWidth = 64;  // elements of a row: a block of one vector

// Calls at(pointer) for each vector of a row.
template <class At>
HWY_INLINE void ForEachOfRow(float* row, const At& at) {
  for (size_t i = 0; i < kWidth; i += hn::Lanes(Floats())) at(row + i);
}

HWY_INLINE hn::Vec<Keys> LoadKeys(const float* x) {
  return hn::BitCast(Keys(), hn::Load(Floats(), x));
}

HWY_INLINE void StoreKeys(hn::Vec<Keys> keys, float* to) {
  hn::Store(hn::BitCast(Floats(), keys), Floats(), to);
}

// Between the bits of floats and integers of the same order, either way.
HWY_INLINE void TurnKeys(float* row) {
  ForEachOfRow(row, [](float* x) HWY_ATTR {
    const auto bits = LoadKeys(x);
    const auto below_sign = hn::Set(Keys(), 0x7fffffff);
    StoreKeys(hn::Xor(bits, hn::And(hn::ShiftRight<31>(bits), below_sign)), x);
  });
}

// Sorts each column of the n rows, as keys.
HWY_INLINE void SortColumns(size_t n, float* rows) {
  for (size_t p = std::bit_ceil(n) / 2; p > 0; p /= 2) {
    size_t q = std::bit_ceil(n) / 2;
    size_t r = 0;
    size_t distance = p;
    while (true) {
      // Every i below n - distance whose bit p is r.
      for (size_t begin = r; begin + distance < n; begin += 2 * p) {
        const size_t end = std::min(begin + p, n - distance);
        for (size_t i = begin; i < end; ++i) {
          float* const low = rows + i * kWidth;
          ForEachOfRow(low, [=](float* a) HWY_ATTR {
            float* const b = a + distance * kWidth;
            const auto x = LoadKeys(a);
            const auto y = LoadKeys(b);
            StoreKeys(hn::Min(x, y), a);
            StoreKeys(hn::Max(x, y), b);
          });
        }
      }
      if (q == p) break;
      distance = q - p;
      q /= 2;
      r = p;
    }
  }
}

// `rows` is scratch for n rows, aligned.
void TrimmedMeanKernel(size_t n, const float* const* vectors, size_t trim, size_t size, float* rows,
                       float* mean) {
  const hn::CappedTag<double, 8> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const auto divisor = hn::Set(wide, static_cast<double>(n - 2 * trim));
  for (size_t begin = 0; begin < size; begin += kWidth) {
    const size_t width = std::min(kWidth, size - begin);
    for (size_t k = 0; k < n; ++k) {
      // If a row is not full, the values that stood there before are sorted too, and written
      // nowhere.
      std::memcpy(rows + k * kWidth, vectors[k] + begin, width * sizeof(float));
      TurnKeys(rows + k * kWidth);
    }
    SortColumns(n, rows);
    for (size_t k = trim; k < n - trim; ++k) TurnKeys(rows + k * kWidth);
    float* const means = rows + trim * kWidth;
    for (size_t i = 0; i < kWidth; i += hn::Lanes(wide)) {
      auto sum = hn::PromoteTo(wide, hn::Load(narrow, means + i));
      for (size_t k = trim + 1; k < n - trim; ++k) {
        sum = hn::Add(sum, hn::PromoteTo(wide, hn::Load(narrow, rows + k * kWidth + i)));
      }
      hn::Store(hn::DemoteTo(narrow, hn::Div(sum, divisor)), narrow, means + i);
    }
    std::memcpy(mean + begin, means, width * sizeof(float));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {

HWY_EXPORT(TrimmedMeanKernel);

void TrimmedMean(absl::Span<const float* const> vectors, size_t trim, absl::Span<float> mean) {
  struct alignas(64) Row {
    float values[64];
  };
  std::vector<Row> rows(vectors.size());
  HWY_DYNAMIC_DISPATCH(TrimmedMeanKernel)
  (vectors.size(), vectors.data(), trim, mean.size(), rows.data()->values, mean.data());
}

void Median(absl::Span<const float* const> vectors, absl::Span<float> median) {
  TrimmedMean(vectors, (vectors.size() - 1) / 2, median);
}

}  // namespace talweg::core
#endif  // HWY_ONCE
