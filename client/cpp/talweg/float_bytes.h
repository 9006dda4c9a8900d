// SPDX-License-Identifier: Apache-2.0
//
// float32 numbers as the wire and .npy files have them: little-endian, as on this machine.
#pragma once

#include <bit>
#include <cstring>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg {

static_assert(std::endian::native == std::endian::little, "floats are copied as they lie");

// `bytes` has 4 bytes for each of `values`.
inline void CopyFloats(absl::string_view bytes, absl::Span<float> values) {
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
}

inline void AssignFloats(absl::Span<const float> values, std::string& bytes) {
  bytes.assign(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

}  // namespace talweg
