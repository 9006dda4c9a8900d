// SPDX-License-Identifier: Apache-2.0
//
// The statistics of golden files: rows as make_statistics.py makes them, and what the server makes
// of them. For the golden tests only.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "core/session/statistics.h"
#include "gtest/gtest.h"
#include "tests/golden/golden_testing.h"

namespace talweg::core {

// As `rows` of make_statistics.py. `rank` 0: as many as columns.
inline std::vector<float> Rows(Generator& generator, size_t count, size_t width, size_t rank,
                               int shift) {
  rank = rank == 0 ? width : std::min(rank, width);
  std::vector<float> rows;
  std::vector<double> numbers(rank);
  for (size_t row = 0; row < count; ++row) {
    for (double& number : numbers) number = generator.Next() + 0.25;
    for (size_t col = 0; col < width; ++col) {
      rows.push_back(
          static_cast<float>(std::ldexp(numbers[col % rank], -static_cast<int>(col % 3) - shift)));
    }
  }
  return rows;
}

inline void Append(const std::vector<float>& values, std::vector<float>& to) {
  to.insert(to.end(), values.begin(), values.end());
}

// The vector of all statistics, made from what was sent by the code that sessions use.
inline std::vector<float> ReadyStatistics(const std::shared_ptr<const LayerTable>& table,
                                          const StatisticsShape& shape,
                                          const std::vector<float>& sent) {
  StagedStatistics statistics(table, shape);
  TALWEG_CHECK(statistics.sent().size() == sent.size());
  statistics.sent().Begin(statistics.map_of_sent());
  statistics.sent().Append(
      {Dtype::kFloat32, {reinterpret_cast<const char*>(sent.data()), sent.size() * sizeof(float)}});
  Work work;
  statistics.AddStages(work);
  work.RunHere();
  EXPECT_TRUE(statistics.finite());
  const auto ready = std::as_const(*statistics.ready()).values();
  return {ready.begin(), ready.end()};
}

}  // namespace talweg::core
