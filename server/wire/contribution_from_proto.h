// SPDX-License-Identifier: Apache-2.0
//
// A contribution, whether it comes in one message or over a stream, except for its gradient.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/rounds/event.h"
#include "server/calls/reply_spec.h"
#include "server/calls/session_calls.h"
#include "server/wire/section_codec.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::server {

// Checks what every header must hold, whatever its session is. FIELD_REQUIRED, FIELD_OUT_OF_RANGE.
absl::Status CheckHeader(const v1::ContributionHeader& header);

// Each part of a contribution shows that its worker lives; this is the heartbeat that says so.
// `header` was checked.
core::Heartbeat LifeOf(const v1::ContributionHeader& header);

// The gradient of a contribution that comes in one message; none if its worker abstains. The
// reasons of GradientOf, and SECTION_UNEXPECTED.
absl::StatusOr<ContributedVector> VectorOf(const v1::StepRequest& request, uint64_t num_elements);

// A contribution except for its gradient. `header` was checked.
StepInput InputOf(const v1::ContributionHeader& header, const ReplySpec& reply);

}  // namespace talweg::server
