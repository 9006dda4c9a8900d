// SPDX-License-Identifier: Apache-2.0
//
// Where the parameters of version 0 come from: a seeded plan, or numbers that the client uploads.
#pragma once

#include "absl/status/statusor.h"
#include "core/base/layout.h"
#include "server/calls/session_calls.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg::server {

// Uploaded bytes are borrowed from `values`. Reads all of them once, to see that they are finite.
// Paths in errors start at the create request. FIELD_REQUIRED, INITIAL_VALUES_INVALID,
// SECTION_UNEXPECTED, SECTION_SIZE_MISMATCH, and the errors of InitialValuesFromProto.
absl::StatusOr<InitialSource> SourceFromProto(const v1::InitialValues& values,
                                              const core::Layout& layout);

}  // namespace talweg::server
