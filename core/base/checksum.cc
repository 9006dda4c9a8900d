// SPDX-License-Identifier: Apache-2.0
#include "core/base/checksum.h"

#include <algorithm>

#include "isa-l/crc.h"

namespace talweg::core {

uint32_t Crc32c(absl::string_view bytes, uint32_t crc) {
  // ISA-L takes the register itself, an int's length, and a pointer it only reads through.
  constexpr size_t kPiece = size_t{1} << 30;
  uint32_t state = ~crc;
  while (!bytes.empty()) {
    const absl::string_view piece = bytes.substr(0, kPiece);
    auto* data = reinterpret_cast<unsigned char*>(const_cast<char*>(piece.data()));
    state = crc32_iscsi(data, static_cast<int>(piece.size()), state);
    bytes.remove_prefix(piece.size());
  }
  return ~state;
}

uint32_t Crc32c(absl::Span<const float> values, uint32_t crc) {
  return Crc32c(absl::string_view(reinterpret_cast<const char*>(values.data()),
                                  values.size() * sizeof(float)),
                crc);
}

uint64_t Fnv1a(absl::string_view bytes, uint64_t digest) {
  for (const char c : bytes) {
    digest ^= static_cast<unsigned char>(c);
    digest *= 0x100000001b3;
  }
  return digest;
}

}  // namespace talweg::core
