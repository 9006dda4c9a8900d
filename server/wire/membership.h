// SPDX-License-Identifier: Apache-2.0
//
// What a worker says and is told when it joins, when it shows that it lives, and when it leaves.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/rounds/event.h"
#include "server/calls/session_calls.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg::server {

// Checks that a member names itself. Fails with FIELD_REQUIRED or FIELD_OUT_OF_RANGE.
absl::Status CheckMember(const std::string& worker, uint64_t history, uint64_t incarnation);

// The heartbeat of a member, and its leave. Both functions fail as CheckMember does.
absl::StatusOr<core::Heartbeat> HeartbeatFromProto(const v1::HeartbeatRequest& request);
absl::StatusOr<core::Leave> LeaveFromProto(const v1::LeaveRequest& request);

// A worker that joins, without its incarnation. A worker that names no role has none here: the
// session says which one it has. Fails with FIELD_REQUIRED or FIELD_OUT_OF_RANGE.
absl::StatusOr<core::Join> JoinFromProto(const v1::JoinRequest& request);

void JoinToProto(const JoinOutcome& outcome, v1::JoinResponse& proto);
void HeartbeatToProto(const JoinOutcome& outcome, v1::HeartbeatResponse& proto);

}  // namespace talweg::server
