// SPDX-License-Identifier: Apache-2.0
//
// What a session is told to do: its layout, method, schedule and policy, resolved.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/byte_io.h"
#include "core/base/field.h"
#include "core/base/layout.h"
#include "core/optimizers/registry.h"
#include "core/schedules/schedule.h"

namespace talweg::core {

struct AggregationConfig {
  uint64_t max_staleness = 0;   // versions
  uint64_t lease_seconds = 30;  // a silent worker is called live so long
  static auto Fields() {
    return std::tuple{Field{"max_staleness", &AggregationConfig::max_staleness, AtLeast(0)},
                      Field{"lease_seconds", &AggregationConfig::lease_seconds, Closed(1, 86400)}};
  }
};

// A value; copies share what never changes.
struct SessionConfig {
  std::shared_ptr<const Layout> layout;
  const Method* method;
  std::shared_ptr<const Config> optimizer;  // of the method's own type, valid
  Schedule schedule;
  ConfigOf<AggregationConfig> aggregation;

  // Bytes that the session takes: slots, two versions of the parameters, one staged gradient,
  // and the names and shapes of the layout.
  uint64_t MemoryBytes() const;
};

// Whether a live session may change `from` to `to`: same layout and method, fixed fields equal.
// FIELD_IMMUTABLE names the field ("config.optimizer.adam.dialect").
absl::Status CheckLiveChange(const SessionConfig& from, const SessionConfig& to);

// True where both resolve to the same values.
bool SameConfig(const SessionConfig& a, const SessionConfig& b);

// A config's bytes within a saved state, and back. ReadConfig fails with STATE_CORRUPT.
void WriteConfig(const SessionConfig& config, ByteWriter& writer);
absl::StatusOr<SessionConfig> ReadConfig(ByteReader& reader);

}  // namespace talweg::core
