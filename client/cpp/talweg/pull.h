// SPDX-License-Identifier: Apache-2.0
//
// Parameters from the server, through broken streams.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/retry.h"
#include "client/cpp/talweg/transport.h"

namespace talweg {

// Which parameters were pulled.
struct PulledVersion {
  uint64_t history = 0;
  uint64_t version = 0;
};

// Fills `parameters` (all elements of the session) with one version. A broken stream goes on from
// the first missing element at the same version; where the server no longer holds that version,
// the pull starts over at the current one. `history` 0 means whichever is current at the first
// message. After an error the contents of `parameters` are unspecified.
absl::StatusOr<PulledVersion> PullParameters(Transport& transport, const RetryOptions& retry,
                                             absl::string_view session_id, uint64_t history,
                                             absl::Span<float> parameters);

}  // namespace talweg
