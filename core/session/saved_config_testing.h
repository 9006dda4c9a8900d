// SPDX-License-Identifier: Apache-2.0
//
// For tests only: bytes of configurations within saved states, written, read and refused.
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

namespace talweg::core {

inline std::string Encoded(const std::function<void(ByteWriter&)>& write) {
  ByteWriter writer;
  write(writer);
  return writer.bytes();
}

inline absl::StatusOr<SessionConfig> ReadConfigBytes(absl::string_view bytes, uint32_t format) {
  ByteReader reader(bytes);
  absl::StatusOr<SessionConfig> config = ReadConfig(reader, format);
  EXPECT_TRUE(!config.ok() || reader.End().ok());
  return config;
}

inline void ExpectRefused(const absl::StatusOr<SessionConfig>& config, absl::string_view text) {
  EXPECT_EQ(ReasonName(config.status()), "STATE_CORRUPT");
  EXPECT_EQ(std::string(config.status().message()), text);
}

}  // namespace talweg::core
