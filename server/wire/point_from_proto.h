// SPDX-License-Identifier: Apache-2.0
//
// Points of a session that can be pulled: the parameters, or a point beside them.
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "core/session/session.h"
#include "talweg/v1/section.pb.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::server {

// A point that a client asked for, and the kind of section that it comes back in.
struct PointOnWire {
  std::optional<core::Session::Point> point;  // empty: the parameters themselves
  v1::SectionKind kind = v1::SECTION_KIND_PARAMETERS;
};

// POINT_UNSPECIFIED means the parameters. FIELD_OUT_OF_RANGE, naming "point", for an unknown value.
absl::StatusOr<PointOnWire> PointFromProto(v1::Point point);

}  // namespace talweg::server
