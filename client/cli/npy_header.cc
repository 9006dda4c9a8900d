// SPDX-License-Identifier: Apache-2.0
#include "client/cli/npy_header.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace talweg {
namespace {

constexpr size_t kMaxDimensions = 64;  // NumPy 2 has no more
constexpr uint64_t kMaxElements = uint64_t{1} << 58;
constexpr size_t kShownCharacters = 40;

absl::Status Refuse(absl::string_view text) { return absl::InvalidArgumentError(text); }

// A piece of a header for an error, cut where it is long.
std::string Shown(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  const bool is_long = text.size() > kShownCharacters;
  std::string shown(text.substr(0, kShownCharacters));
  for (char& c : shown) c = absl::ascii_isprint(static_cast<unsigned char>(c)) ? c : '?';
  return absl::StrCat(shown, is_long ? "..." : "");
}

// Reads the small part of Python's literals that a header is made of.
class Literals {
 public:
  explicit Literals(absl::string_view text) : rest_(text) {}

  // Takes `c` if it comes next, behind white space.
  bool Take(char c) {
    SkipSpace();
    return absl::ConsumePrefix(&rest_, absl::string_view(&c, 1));
  }
  bool AtEnd() {
    SkipSpace();
    return rest_.empty();
  }
  // A string in quotes of either kind, also with the u in front that programs on Python 2 wrote. No
  // key and no type has a backslash.
  std::optional<std::string> String() {
    SkipSpace();
    if (rest_.size() > 1 && (rest_[0] == 'u' || rest_[0] == 'U') &&
        (rest_[1] == '\'' || rest_[1] == '"')) {
      rest_.remove_prefix(1);
    }
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) return std::nullopt;
    const size_t end = rest_.find(rest_[0], 1);
    if (end == absl::string_view::npos) return std::nullopt;
    const std::string text(rest_.substr(1, end - 1));
    if (absl::StrContains(text, '\\')) return std::nullopt;
    rest_.remove_prefix(end + 1);
    return text;
  }
  std::optional<bool> Bool() {
    SkipSpace();
    if (absl::ConsumePrefix(&rest_, "True")) return true;
    if (absl::ConsumePrefix(&rest_, "False")) return false;
    return std::nullopt;
  }
  // A whole number that is not negative; Python 2 wrote an L behind large ones.
  std::optional<uint64_t> Whole() {
    SkipSpace();
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), absl::ascii_isdigit);
    const size_t size = static_cast<size_t>(end - rest_.begin());
    uint64_t number = 0;
    if (!absl::SimpleAtoi(rest_.substr(0, size), &number)) return std::nullopt;
    rest_.remove_prefix(size);
    absl::ConsumePrefix(&rest_, "L");
    return number;
  }
  absl::string_view rest() const { return rest_; }

 private:
  void SkipSpace() { rest_ = absl::StripLeadingAsciiWhitespace(rest_); }
  absl::string_view rest_;
};

// What NumPy calls the three kinds of numbers, without the byte order in front.
struct NumberName {
  absl::string_view name;
  NpyNumber number;
  bool takes_order;  // whether a byte order may stand in front
};
constexpr NumberName kNumberNames[] = {
    {"f2", NpyNumber::kFloat16, true},      {"e", NpyNumber::kFloat16, true},
    {"half", NpyNumber::kFloat16, false},   {"float16", NpyNumber::kFloat16, false},
    {"f4", NpyNumber::kFloat32, true},      {"f", NpyNumber::kFloat32, true},
    {"single", NpyNumber::kFloat32, false}, {"float32", NpyNumber::kFloat32, false},
    {"f8", NpyNumber::kFloat64, true},      {"d", NpyNumber::kFloat64, true},
    {"double", NpyNumber::kFloat64, false}, {"float64", NpyNumber::kFloat64, false},
    {"float", NpyNumber::kFloat64, false},
};

// What a type that is not taken holds, for a person; by its letter.
std::string KindText(absl::string_view type) {
  const absl::string_view bare = absl::StripPrefix(
      absl::StripPrefix(absl::StripPrefix(absl::StripPrefix(type, "<"), ">"), "|"), "=");
  if (bare.empty()) return "numbers without a type";
  uint64_t bytes = 0;
  const bool sized = absl::SimpleAtoi(bare.substr(1), &bytes) && bytes <= 64;
  const auto bits = [&](absl::string_view name) {
    return sized ? absl::StrCat(name, 8 * bytes) : absl::StrCat(name, " numbers");
  };
  switch (bare[0]) {
    case 'i':
      return bits("int");
    case 'u':
      return bits("uint");
    case 'f':
      return bits("float");
    case 'c':
      return bits("complex");
    case 'b':
    case '?':
      return "truth values";
    case 'O':
      return "pickled Python objects";
    case 'S':
    case 'a':
    case 'U':
      return "text";
    case 'M':
    case 'm':
      return "times";
    case 'V':
      return bytes == 2 ? "raw bytes (bfloat16 is saved so)" : "raw bytes";
    default:
      return "numbers of another type";
  }
}

absl::Status ReadType(absl::string_view type, NpyHeader& header) {
  absl::string_view name = type;
  const bool has_order = !name.empty() && absl::StrContains("<>=|", name[0]);
  if (has_order) name.remove_prefix(1);
  const auto* found =
      std::find_if(std::begin(kNumberNames), std::end(kNumberNames), [&](const NumberName& known) {
        return known.name == name && (known.takes_order || !has_order);
      });
  if (found == std::end(kNumberNames)) {
    return Refuse(absl::StrCat("holds ", KindText(type), " ('", Shown(type),
                               "'); taken are float32, float64 and float16"));
  }
  header.number = found->number;
  header.big_endian = has_order && type[0] == '>';
  return absl::OkStatus();
}

absl::Status ReadShape(Literals& literals, NpyHeader& header) {
  const absl::string_view text = literals.rest();
  const auto wrong = [&] {
    return Refuse(absl::StrCat("has a header whose shape is no tuple of sizes: ", Shown(text)));
  };
  if (!literals.Take('(')) return wrong();
  bool comma = true;
  while (!literals.Take(')')) {
    const std::optional<uint64_t> size = comma ? literals.Whole() : std::nullopt;
    if (!size.has_value()) return wrong();
    header.shape.push_back(*size);
    if (header.shape.size() > kMaxDimensions) {
      return Refuse(absl::StrCat("has more than ", kMaxDimensions, " dimensions"));
    }
    comma = literals.Take(',');
  }
  // "(6)" is a number in Python, no tuple.
  if (header.shape.size() == 1 && !comma) return wrong();
  const bool empty = std::find(header.shape.begin(), header.shape.end(), 0) != header.shape.end();
  uint64_t product = 1;
  for (const uint64_t size : header.shape) {
    if (!empty && size > kMaxElements / product) {
      return Refuse(
          absl::StrCat("has the shape ", ShapeText(header.shape), ", which is larger than memory"));
    }
    product = empty ? 0 : product * size;
  }
  return absl::OkStatus();
}

// Reads the value behind `key`.
absl::Status ReadValue(absl::string_view key, Literals& literals, NpyHeader& header) {
  const absl::string_view text = literals.rest();
  if (key == "shape") return ReadShape(literals, header);
  if (key == "descr") {
    const std::optional<std::string> type = literals.String();
    if (type.has_value()) return ReadType(*type, header);
    const bool record = literals.Take('[') || literals.Take('(');
    return Refuse(absl::StrCat(
        record ? "holds records of several fields" : "has a header whose descr is no type", ": ",
        Shown(text)));
  }
  const std::optional<bool> order = literals.Bool();
  if (!order.has_value()) {
    return Refuse(
        absl::StrCat("has a header whose fortran_order is neither True nor False: ", Shown(text)));
  }
  header.fortran_order = *order;
  return absl::OkStatus();
}

}  // namespace

size_t BytesOf(NpyNumber number) {
  if (number == NpyNumber::kFloat16) return 2;
  return number == NpyNumber::kFloat32 ? 4 : 8;
}

std::string NameOf(NpyNumber number) { return absl::StrCat("float", 8 * BytesOf(number)); }

uint64_t NpyHeader::num_elements() const {
  uint64_t product = 1;
  for (const uint64_t size : shape) {
    if (size == 0) return 0;
    product *= size;
  }
  return product;
}

absl::StatusOr<NpyHeader> ParseNpyHeader(absl::string_view text) {
  constexpr absl::string_view kKeys[] = {"descr", "fortran_order", "shape"};
  Literals literals(text);
  NpyHeader header;
  std::vector<std::string> keys;
  if (!literals.Take('{')) {
    return Refuse(absl::StrCat("has a header that is no dictionary: ", Shown(text)));
  }
  bool comma = true;
  while (!literals.Take('}')) {
    std::optional<std::string> key = comma ? literals.String() : std::nullopt;
    if (!key.has_value() || !literals.Take(':')) {
      return Refuse(absl::StrCat("has a header that is no dictionary: ", Shown(text)));
    }
    if (std::find(std::begin(kKeys), std::end(kKeys), *key) == std::end(kKeys)) {
      return Refuse(absl::StrCat("has a header with the unknown key '", Shown(*key), "'"));
    }
    if (std::find(keys.begin(), keys.end(), *key) != keys.end()) {
      return Refuse(absl::StrCat("has a header with two keys '", *key, "'"));
    }
    absl::Status read = ReadValue(*key, literals, header);
    if (!read.ok()) return read;
    keys.push_back(*std::move(key));
    comma = literals.Take(',');
  }
  for (const absl::string_view key : kKeys) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
      return Refuse(absl::StrCat("has a header without the key '", key, "'"));
    }
  }
  if (!literals.AtEnd()) {
    return Refuse(
        absl::StrCat("has a header that goes on behind its dictionary: ", Shown(literals.rest())));
  }
  return header;
}

std::string ShapeText(absl::Span<const uint64_t> shape) {
  if (shape.size() == 1) return absl::StrCat("(", shape[0], ",)");
  return absl::StrCat("(", absl::StrJoin(shape, ", "), ")");
}

}  // namespace talweg
