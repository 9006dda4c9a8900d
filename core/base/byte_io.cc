// SPDX-License-Identifier: Apache-2.0
#include "core/base/byte_io.h"

#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"

namespace talweg::core {
namespace {

static_assert(std::endian::native == std::endian::little,
              "floats are copied as they lie in memory");

template <class T>
absl::string_view Raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

template <class T>
void Parse(absl::string_view piece, T& value) {
  std::memcpy(&value, piece.data(), sizeof(T));
}

}  // namespace

void ByteWriter::Byte(uint8_t value) { Append(Raw(value)); }
void ByteWriter::Uint32(uint32_t value) { Append(Raw(value)); }
void ByteWriter::Uint64(uint64_t value) { Append(Raw(value)); }
void ByteWriter::Double(double value) { Append(Raw(value)); }

void ByteWriter::Text(absl::string_view value) {
  Uint64(value.size());
  Append(value);
}

void ByteWriter::Floats(absl::Span<const float> values) {
  Uint64(values.size());
  Append({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
}

void ByteWriter::Append(absl::string_view bytes) { bytes_.append(bytes.data(), bytes.size()); }

void ChecksumWriter::Append(absl::string_view bytes) { checksum_ = Crc32c(bytes, checksum_); }

absl::Status ByteReader::Take(size_t size, absl::string_view& piece) {
  if (size > rest_.size()) {
    return MakeError(Reason::kStateCorrupt,
                     absl::StrCat("state ends ", size - rest_.size(), " bytes too early"));
  }
  piece = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return absl::OkStatus();
}

absl::Status ByteReader::Byte(uint8_t& value) {
  absl::string_view piece;
  TALWEG_RETURN_IF_ERROR(Take(sizeof(value), piece));
  Parse(piece, value);
  return absl::OkStatus();
}

absl::Status ByteReader::Uint32(uint32_t& value) {
  absl::string_view piece;
  TALWEG_RETURN_IF_ERROR(Take(sizeof(value), piece));
  Parse(piece, value);
  return absl::OkStatus();
}

absl::Status ByteReader::Uint64(uint64_t& value) {
  absl::string_view piece;
  TALWEG_RETURN_IF_ERROR(Take(sizeof(value), piece));
  Parse(piece, value);
  return absl::OkStatus();
}

absl::Status ByteReader::Double(double& value) {
  absl::string_view piece;
  TALWEG_RETURN_IF_ERROR(Take(sizeof(value), piece));
  Parse(piece, value);
  return absl::OkStatus();
}

absl::Status ByteReader::Text(std::string& value) {
  uint64_t size = 0;
  TALWEG_RETURN_IF_ERROR(Uint64(size));
  absl::string_view piece;
  TALWEG_RETURN_IF_ERROR(Take(size, piece));
  value.assign(piece.data(), piece.size());
  return absl::OkStatus();
}

absl::Status ByteReader::Floats(absl::Span<float> values) {
  uint64_t size = 0;
  TALWEG_RETURN_IF_ERROR(Uint64(size));
  if (size != values.size()) {
    return MakeError(Reason::kStateCorrupt,
                     absl::StrCat("state has ", size, " numbers, expected ", values.size()));
  }
  absl::string_view piece;
  TALWEG_RETURN_IF_ERROR(Take(size * sizeof(float), piece));
  // An empty span may have no address, which memcpy must not be given.
  if (!piece.empty()) std::memcpy(values.data(), piece.data(), piece.size());
  return absl::OkStatus();
}

absl::Status ByteReader::End() const {
  if (rest_.empty()) return absl::OkStatus();
  return MakeError(Reason::kStateCorrupt,
                   absl::StrCat("state goes on for ", rest_.size(), " bytes after its end"));
}

}  // namespace talweg::core
