// SPDX-License-Identifier: Apache-2.0
#include "client/terminal/chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace talweg {
namespace {

constexpr int kEighths = 8;
constexpr const char* kBlocks[kEighths + 1] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

}  // namespace

ChartColumns ColumnsOf(absl::Span<const ChartPoint> points, size_t width) {
  std::vector<ChartPoint> finite;
  for (const ChartPoint& point : points) {
    if (std::isfinite(point.value)) finite.push_back(point);
  }
  ChartColumns columns;
  if (finite.empty()) return columns;
  // Few points are not stretched: a column each.
  const size_t num_columns = std::min(width, finite.size());
  const double first = finite.front().place;
  const double extent = finite.back().place - first;
  std::vector<double> sums(num_columns, 0);
  std::vector<double> counts(num_columns, 0);
  for (const ChartPoint& point : finite) {
    const double share = extent > 0 ? (point.place - first) / extent : 0;
    const size_t column =
        std::min(static_cast<size_t>(share * static_cast<double>(num_columns)), num_columns - 1);
    // Scaled while it is summed: a mean of large values stays finite.
    counts[column] += 1;
    sums[column] += (point.value - sums[column]) / counts[column];
  }
  columns.low = std::numeric_limits<double>::infinity();
  columns.high = -columns.low;
  for (size_t column = 0; column < num_columns; ++column) {
    const double value = counts[column] > 0 ? sums[column] : columns.values.back();
    columns.values.push_back(value);
    columns.low = std::min(columns.low, value);
    columns.high = std::max(columns.high, value);
  }
  return columns;
}

std::vector<std::string> DrawChart(const ChartColumns& columns, size_t height) {
  std::vector<std::string> rows(height);
  const int most = static_cast<int>(height) * kEighths;
  for (const double value : columns.values) {
    // Halves, so that the extent of any two finite numbers is finite.
    const double extent = columns.high / 2 - columns.low / 2;
    const double share = extent > 0 ? (value / 2 - columns.low / 2) / extent : 0.5;
    const int filled = 1 + static_cast<int>(std::lround(share * (most - 1)));
    for (size_t row = 0; row < height; ++row) {
      const int below = static_cast<int>(height - 1 - row) * kEighths;
      rows[row] += kBlocks[std::clamp(filled - below, 0, kEighths)];
    }
  }
  return rows;
}

}  // namespace talweg
