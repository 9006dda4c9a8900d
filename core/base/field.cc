// SPDX-License-Identifier: Apache-2.0
#include "core/base/field.h"

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"

namespace talweg::core {
namespace {

constexpr double kMax = std::numeric_limits<double>::max();

// Six digits, unless it is a whole number that they would round.
std::string LimitText(double limit) {
  const bool whole = std::abs(limit) < 0x1p53 && limit == std::floor(limit);
  std::string text = absl::StrCat(limit);
  double read = 0;
  if (!whole || (absl::SimpleAtod(text, &read) && read == limit)) return text;
  return absl::StrCat(static_cast<int64_t>(limit));
}

}  // namespace

bool Range::Contains(double value) const {
  if (!std::isfinite(value)) return false;
  if (low_open ? value <= low : value < low) return false;
  return high_open ? value < high : value <= high;
}

std::string Range::Text() const {
  const bool bounded_below = low > -kMax;
  const bool bounded_above = high < kMax;
  if (!bounded_below && !bounded_above) return "finite";
  if (!bounded_above) return absl::StrCat(low_open ? "> " : ">= ", LimitText(low));
  if (!bounded_below) return absl::StrCat(high_open ? "< " : "<= ", LimitText(high));
  return absl::StrCat(low_open ? "(" : "[", LimitText(low), ", ", LimitText(high),
                      high_open ? ")" : "]");
}

std::string FieldValueText(const FieldValue& value) {
  struct Visitor {
    std::string operator()(bool flag) const { return flag ? "true" : "false"; }
    std::string operator()(uint64_t number) const { return absl::StrCat(number); }
    std::string operator()(double number) const { return absl::StrCat(number); }
    std::string operator()(Dialect dialect) const { return std::string(DialectName(dialect)); }
    std::string operator()(Choice choice) const { return std::string(choice.name); }
    std::string operator()(const std::string& text) const { return absl::StrCat("\"", text, "\""); }
  };
  return std::visit(Visitor{}, value);
}

namespace internal {

absl::Status OutOfRange(absl::string_view name, absl::string_view got, absl::string_view range) {
  return MakeError(Reason::kHyperparameterOutOfRange,
                   absl::StrCat(name, " is ", got, ", allowed: ", range), name);
}

std::string TextRange(size_t max_bytes) { return absl::StrCat("at most ", max_bytes, " bytes"); }

}  // namespace internal
}  // namespace talweg::core
