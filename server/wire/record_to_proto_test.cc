// SPDX-License-Identifier: Apache-2.0
#include "server/wire/record_to_proto.h"

#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

// The whole message: a field that is added and not filled in shows here.
TEST(RecordToProtoTest, CarriesEveryNumber) {
  core::RunRecord record;
  record.version = uint64_t{1} << 40;
  record.time = absl::FromUnixSeconds(1'700'000'000) + absl::Nanoseconds(123'456'789);
  record.report = {0.25, 3, 0.5, 0.75, 7, 2, -1.5};
  record.step_seconds = 0.125;
  record.seconds_since_last = 2.5;
  v1::StepRecord proto;
  RecordToProto(record, proto);
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(proto, &json, options).ok());
  EXPECT_EQ(json, R"({"version":"1099511627776","time":"2023-11-14T22:13:20.123456789Z",)"
                  R"("report":{"learning_rate":0.25,"gradient_norm":3,"update_norm":0.75,)"
                  R"("staleness":"7","contributors":2,"loss":-1.5,"clip_factor":0.5},)"
                  R"("step_seconds":0.125,"seconds_since_last":2.5})");
}

TEST(TimeToProtoTest, TimesBeforeTheEpochAreWellFormed) {
  const google::protobuf::Timestamp proto = TimeToProto(absl::UnixEpoch() - absl::Nanoseconds(1));
  EXPECT_EQ(proto.seconds(), -1);
  EXPECT_EQ(proto.nanos(), 999'999'999);
}

}  // namespace
}  // namespace talweg::server
