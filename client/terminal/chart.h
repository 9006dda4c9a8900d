// SPDX-License-Identifier: Apache-2.0
//
// Curves in block characters, ▁▂▃▄▅▆▇█, in as many rows as there is room for.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace talweg {

// One point of a curve. The places of its points rise.
struct ChartPoint {
  double place = 0;
  double value = 0;
};

// What is drawn: one value per column (NaN: the column is empty), and the smallest and the largest
// of these values.
struct ChartColumns {
  std::vector<double> values;  // at most as many as the width
  double low = 0;
  double high = 0;
};

// Averages the points whose value is finite over at most `width` (> 0) columns that are equally
// wide in places. A column without a point has the value of the column before it. If no value is
// finite, there are no columns.
ChartColumns ColumnsOf(absl::Span<const ChartPoint> points, size_t width);

// `height` (> 0) rows from the top, each as wide as there are columns. The lowest value is one
// eighth of a row high, and the highest fills all rows. If all values are equal, they fill half the
// rows.
std::vector<std::string> DrawChart(const ChartColumns& columns, size_t height);

}  // namespace talweg
