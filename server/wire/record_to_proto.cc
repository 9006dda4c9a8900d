// SPDX-License-Identifier: Apache-2.0
#include "server/wire/record_to_proto.h"

#include "server/wire/report_to_proto.h"

namespace talweg::server {

google::protobuf::Timestamp TimeToProto(absl::Time time) {
  google::protobuf::Timestamp proto;
  const int64_t seconds = absl::ToUnixSeconds(time);  // rounded down
  proto.set_seconds(seconds);
  proto.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return proto;
}

void RecordToProto(const core::RunRecord& record, v1::StepRecord& proto) {
  proto.set_version(record.version);
  *proto.mutable_time() = TimeToProto(record.time);
  *proto.mutable_report() = ReportToProto(record.report);
  proto.set_step_seconds(record.step_seconds);
  proto.set_seconds_since_last(record.seconds_since_last);
}

}  // namespace talweg::server
