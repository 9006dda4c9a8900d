// SPDX-License-Identifier: Apache-2.0
//
// Times, and the records of a run and of its versions, as the wire tells them.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/rounds/event.h"
#include "core/session/run_series.h"
#include "google/protobuf/timestamp.pb.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg::server {

google::protobuf::Timestamp TimeToProto(absl::Time time);
v1::LossChange LossChangeToProto(const core::LossChange& change);
void RecordToProto(const core::RunRecord& record, v1::StepRecord& proto);
// The times of `record` are wall times.
void RecordToProto(const core::VersionRecord& record, v1::VersionRecord& proto);

// The message of a watcher that is told `records` of `history`. It replaces what was in `proto`,
// and uses its memory again.
void RecordsToProto(uint64_t history, absl::Span<const core::RunRecord> records,
                    v1::WatchSessionResponse& proto);
// A page of `records`; `more`: later records are kept. Adds to an empty `proto`.
void RecordsToProto(uint64_t history, absl::Span<const core::VersionRecord> records, bool more,
                    v1::ListVersionRecordsResponse& proto);

}  // namespace talweg::server
