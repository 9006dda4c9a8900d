// SPDX-License-Identifier: Apache-2.0
//
// A SHA-256 (FIPS 180-4) as a value. core/session computes it (state_digest.h), with a library that
// the clients of this room do not need.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"

namespace talweg::core {

using Sha256 = std::array<uint8_t, 32>;

// 64 lower-case hexadecimal digits, as sha256sum prints them.
inline std::string HexOf(const Sha256& sha256) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(sha256.data()), sha256.size()));
}

}  // namespace talweg::core
