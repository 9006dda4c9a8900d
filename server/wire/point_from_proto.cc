// SPDX-License-Identifier: Apache-2.0
#include "server/wire/point_from_proto.h"

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"

namespace talweg::server {

absl::StatusOr<PointOnWire> PointFromProto(v1::Point point) {
  switch (point) {
    case v1::POINT_UNSPECIFIED:
    case v1::POINT_PARAMETERS:
      return PointOnWire{core::Session::Point::kParameters, v1::SECTION_KIND_PARAMETERS};
    case v1::POINT_LOOKAHEAD:
      return PointOnWire{core::Session::Point::kLookahead, v1::SECTION_KIND_LOOKAHEAD};
    case v1::POINT_AVERAGE:
      return PointOnWire{core::Session::Point::kAverage, v1::SECTION_KIND_AVERAGE};
    default:
      return core::MakeError(core::Reason::kFieldOutOfRange,
                             absl::StrCat("point has the unknown value ", static_cast<int>(point)),
                             "point");
  }
}

}  // namespace talweg::server
