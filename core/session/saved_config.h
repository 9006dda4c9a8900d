// SPDX-License-Identifier: Apache-2.0
//
// How a saved state begins: its format, and the configuration. Only core/session includes this
// file.
//
//   format 3   magic, layout, then the first seven sections of the table, in its order
//   format 4   magic, layout, the number of sections, then each section: its name, and a text that
//              holds what format 3 writes of it; the sections stand in any order
//
// A section is written as its fields, its kind with that kind's fields, and its entries, as far as
// the table says that the section has these. Fields are written as their number, then for each
// field its name, its kind and its value, in any order. A field or section that is missing has its
// default, so that a state outlives versions that add fields or sections. A field or section that
// this version does not know is refused by name.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/base/byte_io.h"
#include "core/session/session_config.h"

namespace talweg::core {

// The format that is written, and the oldest that is read.
inline constexpr uint32_t kStateFormat = 4;
inline constexpr uint32_t kOldestStateFormat = 3;

// The magic line of kStateFormat.
void WriteStateFormat(ByteWriter& writer);

// Reads the magic line of any format from the oldest to the newest. Fails with STATE_CORRUPT.
absl::StatusOr<uint32_t> ReadStateFormat(ByteReader& reader);

// Writes in kStateFormat.
void WriteConfig(const SessionConfig& config, ByteWriter& writer);

// Reads a configuration in the given format. Fails with STATE_CORRUPT; the text names the section
// and field
// ("optimizer.adam.beta1", "groups[2].frozen").
absl::StatusOr<SessionConfig> ReadConfig(ByteReader& reader, uint32_t format);

}  // namespace talweg::core
