// SPDX-License-Identifier: Apache-2.0
//
// A contribution, whether it comes in one message or over a stream, except for its gradient.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/rounds/event.h"
#include "core/session/layer_config.h"
#include "core/session/statistics.h"
#include "server/calls/reply_spec.h"
#include "server/calls/session_calls.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::server {

// Checks what every header must hold, whatever its session is. FIELD_REQUIRED, FIELD_OUT_OF_RANGE.
absl::Status CheckHeader(const v1::ContributionHeader& header);

// Each part of a contribution shows that its worker lives; this is the heartbeat that says so.
// `header` was checked.
core::Heartbeat LifeOf(const v1::ContributionHeader& header);

// What a header says of statistics, for a session with the layers of `table`; nothing if there are
// none. `header` was checked. FIELD_REQUIRED, FIELD_OUT_OF_RANGE, naming the field within the
// header
// ("statistics.layers[2].weight").
absl::StatusOr<std::optional<core::StatisticsShape>> StatisticsShapeOf(
    const v1::ContributionHeader& header, const core::LayerTable& table);

// How many elements of a gradient follow a header, in a session of `num_elements`: all or none.
uint64_t NumGradientElements(const v1::ContributionHeader& header, uint64_t num_elements);

// A contribution except for its gradient. `header` was checked.
StepInput InputOf(const v1::ContributionHeader& header, const ReplySpec& reply);

}  // namespace talweg::server
