// SPDX-License-Identifier: Apache-2.0
//
// What every service stands on, and the one way for a call to start.
#pragma once

#include "absl/status/status.h"
#include "core/base/status_macros.h"
#include "google/protobuf/message.h"
#include "server/ops/drain_gate.h"
#include "server/runtime/compute_pool.h"
#include "server/runtime/memory_budget.h"
#include "server/runtime/session_table.h"
#include "server/wire/unknown_fields.h"

namespace talweg::server {

// Borrowed; outlives the services.
struct ServiceContext {
  SessionTable& sessions;
  ComputePool& pool;
  MemoryBudget& memory;
  DrainGate& gate;

  // DRAINING or FIELD_UNKNOWN: what holds for every request.
  absl::Status Admit(const google::protobuf::Message& request) const {
    TALWEG_RETURN_IF_ERROR(gate.Check());
    return CheckNoUnknownFields(request);
  }
};

}  // namespace talweg::server
