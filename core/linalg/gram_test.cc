// SPDX-License-Identifier: Apache-2.0
#include "core/linalg/gram.h"

#include <cmath>
#include <vector>

#include "core/linalg/packed_triangle.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

// Against the sum of outer products in double, element by element.
TEST(PackedGramTest, IsTheSumOfOuterProducts) {
  uint64_t state = 3;
  const auto noise = [&] {
    state = state * 6364136223846793005 + 1442695040888963407;
    return static_cast<float>(static_cast<double>(state >> 40) / 8388608 - 1);
  };
  for (const size_t n : {1, 2, 7, 40}) {
    for (const size_t num_rows : {1, 3, 65}) {
      for (const bool with_one : {false, true}) {
        std::vector<float> rows(num_rows * n);
        for (float& value : rows) value = noise() + 0.25f;
        const size_t side = n + (with_one ? 1 : 0);
        std::vector<float> packed(PackedSize(side), NAN), scratch(n * n);
        PackedGram(num_rows, n, rows, with_one, 0.375, absl::MakeSpan(packed),
                   absl::MakeSpan(scratch));
        const auto at = [&](size_t row, size_t col) {
          return col == n ? 1.0 : static_cast<double>(rows[row * n + col]);
        };
        for (size_t i = 0; i < side; ++i) {
          for (size_t j = i; j < side; ++j) {
            double sum = 0;
            for (size_t row = 0; row < num_rows; ++row) sum += at(row, i) * at(row, j);
            EXPECT_NEAR(packed[PackedRow(side, i) + j - i], 0.375 * sum, 1e-5 * num_rows)
                << n << " " << num_rows << " " << i << " " << j;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace talweg::core
