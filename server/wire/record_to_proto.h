// SPDX-License-Identifier: Apache-2.0
//
// Times, and the records of a run and of its versions, as the wire tells them.
#pragma once

#include "absl/time/time.h"
#include "core/rounds/event.h"
#include "core/session/run_series.h"
#include "google/protobuf/timestamp.pb.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg::server {

google::protobuf::Timestamp TimeToProto(absl::Time time);
void RecordToProto(const core::RunRecord& record, v1::StepRecord& proto);
// The times of `record` are wall times.
void RecordToProto(const core::VersionRecord& record, v1::VersionRecord& proto);

}  // namespace talweg::server
