// SPDX-License-Identifier: Apache-2.0
#include "client/cli/npy.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cpp/talweg/float_bytes.h"

namespace talweg {
namespace {

constexpr absl::string_view kMagic = "\x93NUMPY";
constexpr size_t kAlignment = 64;  // of the data within the file

absl::Status Refuse(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("a .npy file of float32 is needed: ", what));
}

size_t LittleEndian(absl::string_view bytes) {
  size_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

// What stands behind `key` in the header, up to where `ends` starts.
std::optional<absl::string_view> ValueOf(absl::string_view header, absl::string_view key,
                                         char end) {
  const size_t at = header.find(absl::StrCat("'", key, "':"));
  if (at == absl::string_view::npos) return std::nullopt;
  const size_t begin = at + key.size() + 3;
  const size_t stop = header.find(end, begin);
  if (stop == absl::string_view::npos) return std::nullopt;
  return absl::StripAsciiWhitespace(header.substr(begin, stop - begin));
}

// Product of the dimensions in "(2, 3" or "(".
absl::StatusOr<size_t> SizeOf(absl::string_view shape) {
  size_t size = 1;
  if (!absl::ConsumePrefix(&shape, "(")) return Refuse("its header has no shape");
  for (const absl::string_view part : absl::StrSplit(shape, ',', absl::SkipWhitespace())) {
    uint64_t dimension = 0;
    if (!absl::SimpleAtoi(part, &dimension)) {
      return Refuse(absl::StrCat("its shape holds \"", part, "\""));
    }
    if (dimension != 0 && size > std::numeric_limits<size_t>::max() / sizeof(float) / dimension) {
      return Refuse("its shape is larger than memory");
    }
    size *= dimension;
  }
  return size;
}

}  // namespace

absl::StatusOr<std::vector<float>> ParseNpy(absl::string_view bytes) {
  if (!absl::ConsumePrefix(&bytes, kMagic)) return Refuse("this one is no .npy file");
  if (bytes.size() < 2) return Refuse("this one ends within its header");
  const int version = static_cast<uint8_t>(bytes[0]);
  if (version != 1 && version != 2) {
    return Refuse(absl::StrCat("this one is of version ", version, ", known are 1 and 2"));
  }
  const size_t size_bytes = version == 1 ? 2 : 4;
  bytes.remove_prefix(2);
  const size_t header_size = LittleEndian(bytes.substr(0, size_bytes));
  if (bytes.size() < size_bytes || bytes.size() - size_bytes < header_size) {
    return Refuse("this one ends within its header");
  }
  const absl::string_view header = bytes.substr(size_bytes, header_size);
  const absl::string_view data = bytes.substr(size_bytes + header_size);

  const auto descr = ValueOf(header, "descr", ',');
  if (descr != "'<f4'") {
    return Refuse(absl::StrCat("this one holds ", descr.value_or("something unnamed")));
  }
  if (ValueOf(header, "fortran_order", ',') != "False")
    return Refuse("this one is in Fortran order");
  const absl::StatusOr<size_t> size = SizeOf(ValueOf(header, "shape", ')').value_or(""));
  if (!size.ok()) return size.status();
  if (data.size() != *size * sizeof(float)) {
    return Refuse(
        absl::StrCat("its shape has ", *size, " elements, its data ", data.size(), " bytes"));
  }
  std::vector<float> values(*size);
  CopyFloats(data, absl::MakeSpan(values));
  return values;
}

std::string FormatNpy(absl::Span<const float> values) {
  std::string header =
      absl::StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (", values.size(), ",), }");
  const size_t before = kMagic.size() + 2 + 2;
  while ((before + header.size() + 1) % kAlignment != 0) header += ' ';
  header += '\n';
  std::string bytes = absl::StrCat(kMagic, absl::string_view("\x01\x00", 2));
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  std::string data;
  AssignFloats(values, data);
  return bytes + data;
}

absl::StatusOr<std::vector<float>> ReadNpy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  absl::StatusOr<std::vector<float>> values = ParseNpy(bytes);
  if (!values.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", values.status().message()));
  }
  return values;
}

absl::Status CheckWritable(const std::string& path) {
  std::error_code error;
  const bool was_there = std::filesystem::exists(path, error);
  const bool opens = std::ofstream(path, std::ios::binary | std::ios::app).is_open();
  if (opens && !was_there) std::filesystem::remove(path, error);
  return opens ? absl::OkStatus() : absl::InternalError(absl::StrCat("cannot write ", path));
}

absl::Status WriteNpy(const std::string& path, absl::Span<const float> values) {
  std::ofstream file(path, std::ios::binary);
  file << FormatNpy(values);
  file.close();
  if (!file) return absl::InternalError(absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

}  // namespace talweg
