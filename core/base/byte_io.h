// SPDX-License-Identifier: Apache-2.0
//
// Writes and reads little-endian bytes, for states and journals. The reader refuses short input
// with STATE_CORRUPT instead of running past the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg::core {

class ByteWriter {
 public:
  virtual ~ByteWriter() = default;

  void Byte(uint8_t value);
  void Uint32(uint32_t value);
  void Uint64(uint64_t value);
  void Double(double value);
  void Text(absl::string_view value);           // its size as Uint64, then its bytes
  void Floats(absl::Span<const float> values);  // their number as Uint64, then float32s

  const std::string& bytes() const { return bytes_; }
  std::string Take() && { return std::move(bytes_); }

 protected:
  // Every byte goes through here. The default keeps the bytes.
  virtual void Append(absl::string_view bytes);

 private:
  std::string bytes_;
};

// Keeps only the CRC32C of what is written.
class ChecksumWriter final : public ByteWriter {
 public:
  uint32_t checksum() const { return checksum_; }

 protected:
  void Append(absl::string_view bytes) override;

 private:
  uint32_t checksum_ = 0;
};

// Reads what ByteWriter wrote, in the same order. A call fails with STATE_CORRUPT if the input ends
// too early; its target is then unspecified. Borrows the bytes.
class ByteReader {
 public:
  explicit ByteReader(absl::string_view bytes) : rest_(bytes) {}

  absl::Status Byte(uint8_t& value);
  absl::Status Uint32(uint32_t& value);
  absl::Status Uint64(uint64_t& value);
  absl::Status Double(double& value);
  absl::Status Text(std::string& value);
  // The stored number of floats must be `values.size()`.
  absl::Status Floats(absl::Span<float> values);
  // Fails if bytes are left over.
  absl::Status End() const;

  size_t remaining() const { return rest_.size(); }

 private:
  absl::Status Take(size_t size, absl::string_view& piece);

  absl::string_view rest_;
};

}  // namespace talweg::core
