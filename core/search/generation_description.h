// SPDX-License-Identifier: Apache-2.0
//
// What a session tells of the generation that makes its next version: a value. The message
// OpenGeneration in proto/talweg/v1/search.proto says what each field is.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"

namespace talweg::core {

struct GenerationDescription {
  uint32_t generation = 0;
  uint64_t version = 0;
  uint32_t num_pairs = 0;
  uint32_t num_told = 0;
  uint32_t num_leased = 0;
  uint32_t num_dropped = 0;
  uint32_t num_given_up = 0;
  uint64_t num_given_up_non_finite = 0;
  bool needs_evaluation = false;
  uint32_t num_leases = 0;
  uint32_t num_waiting = 0;
  std::optional<absl::Duration> open;
  std::optional<absl::Duration> closes_in;
};

}  // namespace talweg::core
