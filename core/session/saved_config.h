// SPDX-License-Identifier: Apache-2.0
//
// A configuration's bytes within a saved state: the layout, then every section of the table.
#pragma once

#include "absl/status/statusor.h"
#include "core/base/byte_io.h"
#include "core/session/session_config.h"

namespace talweg::core {

void WriteConfig(const SessionConfig& config, ByteWriter& writer);

// Reads what WriteConfig wrote. STATE_CORRUPT.
absl::StatusOr<SessionConfig> ReadConfig(ByteReader& reader);

}  // namespace talweg::core
