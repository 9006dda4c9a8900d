// SPDX-License-Identifier: Apache-2.0
//
// Parameters from the server, also through streams that break.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/options.h"
#include "client/cpp/talweg/retry.h"
#include "client/cpp/talweg/transport.h"

namespace talweg {

// Which parameters were pulled.
struct PulledVersion {
  uint64_t history = 0;
  uint64_t version = 0;
  double next_learning_rate = 0;  // of the coming step; a lookahead was computed with it
  // Elements that are finite on the server and came as infinities, because the dtype that was asked
  // for does not reach them; and the index of the first of them, if there is one.
  uint64_t num_overflowed = 0;
  uint64_t first_overflowed = 0;
};

// The point from which a pull goes on: the elements before `begin_element` are there already, of
// this version.
struct PullStart {
  uint64_t version = 0;
  double next_learning_rate = 0;
  uint64_t begin_element = 0;
};

// Fills `parameters` (all elements of the session) with one version. After a broken stream, or a
// message that does not fit its checksum, the pull goes on from the first missing element at the
// same version. If the server no longer holds that version, or would compute another lookahead from
// it, the pull starts over. `history` 0 means the history that is current at the first message.
// With `start` the pull goes on there. The pull lasts as long as messages come: the overall timeout
// counts from the last new element. The wait for `min_version` is that of RoundWait. After an error
// the contents of `parameters` are unspecified.
absl::StatusOr<PulledVersion> PullParameters(Transport& transport, const RetryOptions& retry,
                                             absl::string_view session_id, uint64_t history,
                                             absl::Span<float> parameters,
                                             const PullOptions& options = {},
                                             const PullStart* start = nullptr);

}  // namespace talweg
