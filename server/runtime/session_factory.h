// SPDX-License-Identifier: Apache-2.0
//
// How a session comes to be: its memory, its place in the table, its first version. A service makes
// new ones here, and whoever restores saved ones puts them back.
#pragma once

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "core/session/session.h"
#include "server/calls/session_calls.h"
#include "server/runtime/env.h"
#include "server/runtime/memory_budget.h"
#include "server/runtime/session_host.h"
#include "server/runtime/session_table.h"

namespace talweg::server {

// Thread-safe. All that it is made with outlives it and its sessions.
class SessionFactory {
 public:
  struct Made {
    std::shared_ptr<SessionHost> host;
    bool is_new = false;  // false: the same request had made it before
  };
  using Done = absl::AnyInvocable<void(absl::StatusOr<Made>)>;

  SessionFactory(SessionTable& table, MemoryBudget& memory, Env& env)
      : table_(table), memory_(memory), env_(env) {}

  // Who a new session is: with a history of its own, made now.
  SessionIdentity NewIdentity(const std::string& session_id, const std::string& request_id,
                              uint32_t request_digest);

  // What a session of `config` would tell of itself, if it got its memory now: without a history,
  // for it is not made. MEMORY_QUOTA.
  absl::StatusOr<SessionDescription> DryRun(SessionIdentity identity,
                                            const core::SessionConfig& config) const;

  // Makes a session; `done` is told when version 0 is visible, or at once if the same request made
  // it before. Call it on a thread that may compute. SESSION_EXISTS, TOO_MANY_SESSIONS,
  // MEMORY_QUOTA; then there is no such session.
  void Create(const SessionIdentity& identity, const core::SessionConfig& config,
              InitialSource source, Done done);

  // Puts a loaded session back under its id. The history of `identity` is the session's. Errors as
  // Create.
  absl::StatusOr<std::shared_ptr<SessionHost>> Restore(SessionIdentity identity,
                                                       std::unique_ptr<core::Session> session);

 private:
  absl::StatusOr<std::shared_ptr<SessionHost>> Insert(const SessionIdentity& identity,
                                                      const core::SessionConfig& config);

  SessionTable& table_;
  MemoryBudget& memory_;
  Env& env_;
};

}  // namespace talweg::server
