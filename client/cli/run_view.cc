// SPDX-License-Identifier: Apache-2.0
#include "client/cli/run_view.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/describe.h"
#include "client/cli/record_columns.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr double kRateSeconds = 10;                    // Steps per second are counted over so long.
constexpr absl::Duration kSilence = absl::Seconds(5);  // So much silence is worth a word.
constexpr size_t kMaxLossRows = 10;
constexpr size_t kMinLossRows = 3;    // With fewer rows the loss is a line like all others.
constexpr size_t kMinCurveWidth = 8;  // With less room a line has no curve.
constexpr const char* kLine = "%-*s %10.4g  ";
constexpr size_t kNameWidth = 18;    // at least
constexpr size_t kNumberWidth = 13;  // of what stands behind the name, up to the curve
constexpr size_t kRangeWidth = 26;   // at least

// Numbers that are not worth a line, because they say nothing if they are all the same.
bool IsShown(const std::string& name, const ChartColumns& columns) {
  if (columns.values.empty()) return false;
  if (name == "clip_factor") return columns.low < 1;
  if (name == "staleness") return columns.high > 0;
  if (name == "contributors") return columns.high > 1;
  if (name == "total_weight") return columns.low < columns.high;
  constexpr std::string_view kSeldom[] = {
      "num_late",       "num_expired",      "num_abstained", "num_losses_left_out",
      "num_non_finite", "first_non_finite", "too_stale",     "rejected_non_finite",
      "round_closed"};
  if (std::find(std::begin(kSeldom), std::end(kSeldom), name) != std::end(kSeldom)) {
    return columns.high > 0;
  }
  return true;
}

// Smallest and largest of all values, which the columns of a curve average.
std::string RangeText(absl::Span<const ChartPoint> points) {
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const ChartPoint& point : points) {
    if (!std::isfinite(point.value)) continue;
    low = std::min(low, point.value);
    high = std::max(high, point.value);
  }
  return low < high ? absl::StrFormat("%.4g … %.4g", low, high) : "";
}

// The newest value, as a line shows it: what is not a number has no sign.
double Newest(absl::Span<const ChartPoint> points) {
  const double value = points.back().value;
  return std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value;
}

}  // namespace

void RunView::Take(const v1::WatchSessionResponse& message, absl::Time now) {
  for (const v1::StepRecord& record : message.records()) {
    if (records_.size() == kMaxRecords) {
      for (size_t index = 0; index < kMaxRecords / 2; ++index) {
        records_[index] = std::move(records_[2 * index]);
      }
      records_.resize(kMaxRecords / 2);
    }
    records_.push_back(record);
    last_news_ = now;
    open_.reset();
  }
}

std::vector<ChartPoint> RunView::Points(size_t column) const {
  std::vector<ChartPoint> points;
  for (const v1::StepRecord& record : records_) {
    const std::optional<double> value = RecordColumns()[column].value(record);
    if (value.has_value()) points.push_back({static_cast<double>(record.version()), *value});
  }
  return points;
}

std::string RunView::Headline(absl::Time now) const {
  if (records_.empty()) return absl::StrCat(session_id_, "  no step yet");
  const v1::StepRecord& newest = records_.back();
  std::string line = absl::StrCat(session_id_, "  version ", GroupDigits(newest.version()));
  const auto first =
      std::find_if(records_.begin(), records_.end(), [&](const v1::StepRecord& record) {
        return RecordSeconds(newest) - RecordSeconds(record) <= kRateSeconds;
      });
  const double seconds = RecordSeconds(newest) - RecordSeconds(*first);
  if (seconds > 0) {
    const auto steps = static_cast<double>(newest.version() - first->version());
    absl::StrAppendFormat(&line, "  %.4g steps/s", steps / seconds);
  }
  if (now - last_news_ >= kSilence) {
    absl::StrAppendFormat(&line, "  no step for %.0f s", absl::ToDoubleSeconds(now - last_news_));
  }
  return line;
}

std::vector<std::string> RunView::Page(TerminalSize size, absl::Time now) const {
  std::vector<std::string> page = {Headline(now)};
  if (open_.has_value()) {
    for (const auto& [name, text] : OpenWorkTexts(*open_)) {
      page.push_back(absl::StrFormat("%-*s %s", kNameWidth, name, text));
    }
  }
  const size_t head = page.size();
  std::vector<std::string> lines;
  bool has_loss = false;                                          // It is the first column.
  std::vector<std::pair<size_t, std::vector<ChartPoint>>> shown;  // columns, and their points
  size_t name_width = kNameWidth;
  for (size_t column = 0; column < RecordColumns().size(); ++column) {
    const std::string& name = RecordColumns()[column].name;
    std::vector<ChartPoint> points = Points(column);
    if (!IsShown(name, ColumnsOf(points, size.columns))) continue;
    name_width = std::max(name_width, name.size());
    shown.emplace_back(column, std::move(points));
  }
  const size_t line_width = name_width + kNumberWidth;
  for (const auto& [column, points] : shown) {
    const std::string& name = RecordColumns()[column].name;
    if (name == "loss") has_loss = true;
    std::string line = absl::StrFormat(kLine, name_width, name, Newest(points));
    // If there is no room for all, the range goes first, then the curve.
    const std::string range = absl::StrCat("  ", RangeText(points));
    const size_t range_width = std::max(TextWidth(range), kRangeWidth);
    const bool ranged = size.columns >= line_width + kMinCurveWidth + range_width;
    const size_t taken = line_width + (ranged ? range_width : 0);
    if (size.columns >= taken + kMinCurveWidth) {
      const std::string drawn = DrawChart(ColumnsOf(points, size.columns - taken), 1)[0];
      absl::StrAppend(&line, drawn);
      const size_t gap = size.columns - taken - TextWidth(drawn);
      if (ranged) absl::StrAppend(&line, std::string(gap, ' '), range);
    }
    lines.push_back(std::move(line));
  }
  // The loss is drawn large if there is room beside the headline, the open round, a line above and
  // below the loss, and one line for each other number.
  const size_t others = lines.size() + 1 + head;
  if (has_loss && size.rows >= others + kMinLossRows) {
    lines.erase(lines.begin());
    const std::vector<ChartPoint>& points = shown.front().second;
    page.push_back(absl::StrCat(absl::StrFormat(kLine, name_width, "loss", Newest(points)),
                                RangeText(points)));
    const size_t height = std::min(size.rows - others, kMaxLossRows);
    for (std::string& row : DrawChart(ColumnsOf(points, size.columns), height)) {
      page.push_back(std::move(row));
    }
    page.emplace_back();
  }
  page.insert(page.end(), lines.begin(), lines.end());
  if (page.size() > size.rows) page.resize(size.rows);
  return page;
}

}  // namespace talweg
