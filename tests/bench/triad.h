// SPDX-License-Identifier: Apache-2.0
//
// STREAM's triad, a[i] = b[i] + 3 c[i] in double: it measures what this machine's memory can do.
// For benchmarks only.
#pragma once

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <cstddef>

#include "core/base/aligned_buffer.h"
#include "tests/support/pool.h"

namespace talweg::testing {

// Three arrays of `num_elements` each (far more than the caches hold); every thread of the pool
// works on one part of them. Only one thread may call Run.
class Triad {
 public:
  Triad(Pool& pool, size_t num_elements)
      : pool_(pool),
        num_elements_(num_elements),
        a_(2 * num_elements),
        b_(2 * num_elements),
        c_(2 * num_elements) {
    Run(false);  // After this the kernel has given every page of the arrays.
  }

  // The bytes that one run moves, as STREAM counts them: a cache line that is read only because it
  // is about to be written does not count.
  double bytes() const { return 24.0 * static_cast<double>(num_elements_); }

  // Runs the triad once: the loop as STREAM writes it or, if `streaming`, a loop whose stores go
  // past the caches.
  void Run(bool streaming) {
    const size_t num_parts = pool_.num_threads();
    const size_t part = (num_elements_ / num_parts + 8) / 8 * 8;
    pool_.Run(num_parts, [&](size_t index) {
      const size_t begin = std::min(index * part, num_elements_);
      (streaming ? StreamingLoop : PlainLoop)(Doubles(a_) + begin, Doubles(b_) + begin,
                                              Doubles(c_) + begin,
                                              std::min(part, num_elements_ - begin));
    });
  }

 private:
  static double* Doubles(core::AlignedBuffer& buffer) {
    return reinterpret_cast<double*>(buffer.data());
  }

  static void PlainLoop(double* __restrict a, const double* __restrict b,
                        const double* __restrict c, size_t n) {
    for (size_t i = 0; i < n; ++i) a[i] = b[i] + 3.0 * c[i];
  }

  static void StreamingLoop(double* __restrict a, const double* __restrict b,
                            const double* __restrict c, size_t n) {
    size_t i = 0;
#ifdef __SSE2__
    const __m128d scale = _mm_set1_pd(3.0);
    for (; i + 2 <= n; i += 2) {
      _mm_stream_pd(a + i, _mm_add_pd(_mm_load_pd(b + i), _mm_mul_pd(scale, _mm_load_pd(c + i))));
    }
    _mm_sfence();
#endif
    PlainLoop(a + i, b + i, c + i, n - i);
  }

  Pool& pool_;
  size_t num_elements_;
  core::AlignedBuffer a_, b_, c_;
};

}  // namespace talweg::testing
