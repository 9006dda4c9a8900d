// SPDX-License-Identifier: Apache-2.0
//
// The session that a Network trains in: its layout, and initial values made by the server.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg {

// Sets the layout ("w1:512,784 b1:512 w2:...") and the initial values: weights by Kaiming's rule
// from `seed`, biases 0. `widths` are as Network takes them.
void SetNetwork(absl::Span<const size_t> widths, uint64_t seed, v1::CreateSessionRequest& request);

// The widths from which SetNetwork made `layout`; INVALID_ARGUMENT if it did not make it.
absl::StatusOr<std::vector<size_t>> WidthsOf(const v1::Layout& layout);

}  // namespace talweg
