// SPDX-License-Identifier: Apache-2.0
//
// What every service stands on, in groups. server.cc makes it; the services of this room borrow it.
#pragma once

#include <cstdint>

#include "server/ops/drain_gate.h"
#include "server/rpc/door.h"
#include "server/runtime/compute_pool.h"
#include "server/runtime/memory_budget.h"
#include "server/runtime/notice.h"
#include "server/runtime/session_factory.h"
#include "server/runtime/session_table.h"
#include "server/runtime/uploads.h"

namespace talweg::server {

// The budgets of memory, by what the memory is for. The server has one such set; a part of the
// server that is to have limits of its own gets another set.
struct Budgets {
  // `session_bytes` for all sessions; `share_bytes` for each of the others.
  Budgets(uint64_t session_bytes, uint64_t share_bytes)
      : sessions(session_bytes),
        messages(share_bytes),
        staging(share_bytes),
        replies(share_bytes, /*max_waiting=*/SIZE_MAX) {}  // as many may wait as there are calls

  MemoryBudget sessions;
  MemoryBudget messages;  // of contributions in one message that wait for their turn
  MemoryBudget staging;   // of contributions that come over streams
  MemoryBudget replies;   // of replies in one message
};

// How a server that stops tells its calls.
struct StopSignals {
  DrainGate gate;   // Once it is closed, calls that begin are refused.
  Notice stopping;  // It is given when the gate has closed.

  void Give() {
    gate.Close();
    stopping.Give();
  }
};

// Borrowed; all of it outlives the services.
struct ServiceContext {
  const Door& door;
  SessionTable& sessions;
  SessionFactory& factory;
  Uploads& uploads;
  ComputePool& pool;
  Budgets& budgets;
  StopSignals& stop;
};

}  // namespace talweg::server
