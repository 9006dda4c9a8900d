// SPDX-License-Identifier: Apache-2.0
//
// Curves in block characters: ▁▂▃▄▅▆▇█, as many rows of them as there is room for.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace talweg {

// A place of a curve. Places rise.
struct ChartPoint {
  double place = 0;
  double value = 0;
};

// What is drawn: a value a column, NaN where there is none, and the smallest and largest of them.
struct ChartColumns {
  std::vector<double> values;  // at most as many as asked for
  double low = 0;
  double high = 0;
};

// Averages points of finite value over at most `width` (> 0) columns of equal extent in places; a
// column without a point has the value of the one before it. No column where no value is finite.
ChartColumns ColumnsOf(absl::Span<const ChartPoint> points, size_t width);

// `height` (> 0) rows from the top, each as wide as there are columns. The lowest value is one
// eighth of a row high, the highest fills all rows; where all are equal, they are half as high.
std::vector<std::string> DrawChart(const ChartColumns& columns, size_t height);

}  // namespace talweg
