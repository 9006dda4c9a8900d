// SPDX-License-Identifier: Apache-2.0
//
// CRC32C (Castagnoli, RFC 3720 appendix B.4): by the processor's own instruction where it has one.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace talweg {

// CRC32C of `bytes`, going on from `crc` (0 at the start). About 8 GB/s with SSE 4.2, 0.4 without.
uint32_t Crc32c(absl::string_view bytes, uint32_t crc = 0);

// The same by table, as on processors without the instruction.
uint32_t Crc32cByTable(absl::string_view bytes, uint32_t crc = 0);

}  // namespace talweg
