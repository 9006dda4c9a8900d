// SPDX-License-Identifier: Apache-2.0
//
// What a worker that searches asks and tells, checked and converted.
#pragma once

#include "absl/status/statusor.h"
#include "core/search/search_event.h"
#include "talweg/v1/search_service.pb.h"

namespace talweg::server {

// Fail with FIELD_REQUIRED or FIELD_OUT_OF_RANGE, naming the field. What needs the session, such as
// how many losses a pair has, is checked when the session judges.
absl::StatusOr<core::Ask> AskFromProto(const v1::AskRequest& request);
absl::StatusOr<core::Tell> TellFromProto(const v1::TellRequest& request);

}  // namespace talweg::server
