// SPDX-License-Identifier: Apache-2.0
#include "server/wire/point_from_proto.h"

#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

TEST(PointFromProtoTest, EveryPointHasItsKindOfSection) {
  using Point = core::Session::Point;
  for (const v1::Point parameters : {v1::POINT_UNSPECIFIED, v1::POINT_PARAMETERS}) {
    const PointOnWire wanted = PointFromProto(parameters).value();
    EXPECT_EQ(wanted.point, Point::kParameters);
    EXPECT_EQ(wanted.kind, v1::SECTION_KIND_PARAMETERS);
  }
  EXPECT_EQ(PointFromProto(v1::POINT_LOOKAHEAD)->point, Point::kLookahead);
  EXPECT_EQ(PointFromProto(v1::POINT_LOOKAHEAD)->kind, v1::SECTION_KIND_LOOKAHEAD);
  EXPECT_EQ(PointFromProto(v1::POINT_AVERAGE)->point, Point::kAverage);
  EXPECT_EQ(PointFromProto(v1::POINT_AVERAGE)->kind, v1::SECTION_KIND_AVERAGE);
}

TEST(PointFromProtoTest, UnknownPointIsRefused) {
  const absl::Status status = PointFromProto(static_cast<v1::Point>(9)).status();
  EXPECT_EQ(core::ReasonName(status), "FIELD_OUT_OF_RANGE");
  EXPECT_EQ(core::FieldName(status), "point");
}

}  // namespace
}  // namespace talweg::server
