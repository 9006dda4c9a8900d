// SPDX-License-Identifier: Apache-2.0
//
// Points of a session that can be pulled: the parameters, or a point beside them.
#pragma once

#include "absl/status/statusor.h"
#include "core/session/session.h"
#include "talweg/v1/section.pb.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::server {

// A point, and the kind of section that its values are sent in.
struct PointOnWire {
  core::Session::Point point = core::Session::Point::kParameters;
  v1::SectionKind kind = v1::SECTION_KIND_PARAMETERS;
};

// POINT_UNSPECIFIED stands for the parameters. Fails with FIELD_OUT_OF_RANGE, naming "point", if
// the value is unknown.
absl::StatusOr<PointOnWire> PointFromProto(v1::Point point);

}  // namespace talweg::server
