// SPDX-License-Identifier: Apache-2.0
//
// A contribution, whether it comes in one message or over a stream, except for its gradient.
#pragma once

#include "absl/status/status.h"
#include "server/calls/session_calls.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::server {

// What a header must be whatever its session is. FIELD_REQUIRED, FIELD_OUT_OF_RANGE.
absl::Status CheckHeader(const v1::ContributionHeader& header);

// Whether `reply` can be given. FIELD_OUT_OF_RANGE, naming the field ("reply.dtype").
absl::Status CheckReply(const v1::ReplyOptions& reply);

// A contribution except for its gradient. `header` and `reply` are checked.
StepInput InputOf(const v1::ContributionHeader& header, const v1::ReplyOptions& reply);

}  // namespace talweg::server
