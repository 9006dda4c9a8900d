// SPDX-License-Identifier: Apache-2.0
//
// What every service stands on, and the one way for a call to start.
#pragma once

#include "absl/status/status.h"
#include "core/base/status_macros.h"
#include "google/protobuf/message.h"
#include "server/ops/drain_gate.h"
#include "server/ops/log.h"
#include "server/runtime/compute_pool.h"
#include "server/runtime/memory_budget.h"
#include "server/runtime/notice.h"
#include "server/runtime/session_factory.h"
#include "server/runtime/session_table.h"
#include "server/wire/status_to_grpc.h"
#include "server/wire/unknown_fields.h"

namespace talweg::server {

// Borrowed; outlives the services.
struct ServiceContext {
  SessionTable& sessions;
  ComputePool& pool;
  SessionFactory& factory;
  MemoryBudget& messages;  // of contributions in one message that wait for their turn
  MemoryBudget& staging;   // of contributions that come over streams
  MemoryBudget& replies;   // of replies in one message
  DrainGate& gate;
  Notice& stopping;  // given when the gate closes

  // DRAINING or FIELD_UNKNOWN: what holds for every request.
  absl::Status Admit(const google::protobuf::Message& request) const {
    TALWEG_RETURN_IF_ERROR(gate.Check());
    return CheckNoUnknownFields(request);
  }
};

// An error as gRPC takes it, and a line in the log for who looks for it.
inline grpc::Status Refusal(const absl::Status& status) {
  if (!status.ok()) LogRefusal(status);
  return StatusToGrpc(status);
}

}  // namespace talweg::server
