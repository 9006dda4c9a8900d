// SPDX-License-Identifier: Apache-2.0
//
// Where the parameters of version 0 come from: a seeded plan, or numbers that the client sends.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/layout.h"
#include "server/calls/session_calls.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg::server {

// Uploaded bytes are borrowed from `values`. Reads all of them once, to see that they are finite.
// Paths in errors start at the create request. FIELD_REQUIRED, INITIAL_VALUES_INVALID,
// SECTION_UNEXPECTED, SECTION_SIZE_MISMATCH, and the errors of InitialValuesFromProto.
absl::StatusOr<InitialSource> SourceFromProto(const v1::InitialValues& values,
                                              const core::Layout& layout);

// `values` are the elements of `layout` from `begin_element` on. INITIAL_VALUES_INVALID, naming
// `field`, and in the text the tensor and the element, if one of them is a NaN or infinite.
absl::Status CheckFinite(absl::Span<const float> values, uint64_t begin_element,
                         const core::Layout& layout, absl::string_view field);

}  // namespace talweg::server
