// SPDX-License-Identifier: Apache-2.0
//
// For tests only: reading the bytes of a saved configuration. Tests that use it live in this
// namespace.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/byte_io.h"
#include "core/base/reasons.h"
#include "core/session/saved_config.h"
#include "gtest/gtest.h"

namespace talweg::core::saved_bytes {

inline std::string Encoded(const std::function<void(ByteWriter&)>& write) {
  ByteWriter writer;
  write(writer);
  return writer.bytes();
}

inline absl::StatusOr<SessionConfig> Read(absl::string_view bytes, uint32_t format = 3) {
  ByteReader reader(bytes);
  absl::StatusOr<SessionConfig> config = ReadConfig(reader, format);
  EXPECT_TRUE(!config.ok() || reader.End().ok());
  return config;
}

inline void ExpectRefused(const absl::StatusOr<SessionConfig>& config, absl::string_view text) {
  EXPECT_EQ(ReasonName(config.status()), "STATE_CORRUPT");
  EXPECT_EQ(std::string(config.status().message()), text);
}

}  // namespace talweg::core::saved_bytes
