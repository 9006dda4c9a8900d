// SPDX-License-Identifier: Apache-2.0
//
// CRC32C (Castagnoli, RFC 3720 appendix B.4), through ISA-L; and FNV-1a with 64 bits, for short
// texts that need no more than to be told apart.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg::core {

// CRC32C of `bytes`, continued from `crc` (0 at the start). About 20 GB/s per core on x86-64.
uint32_t Crc32c(absl::string_view bytes, uint32_t crc = 0);
uint32_t Crc32c(absl::Span<const float> values, uint32_t crc = 0);

// The FNV-1a digest of no bytes, and that of `bytes`, continued from `digest`. Source:
// draft-eastlake-fnv.
inline constexpr uint64_t kEmptyFnv1a = 0xcbf29ce484222325;
uint64_t Fnv1a(absl::string_view bytes, uint64_t digest = kEmptyFnv1a);

}  // namespace talweg::core
