// SPDX-License-Identifier: Apache-2.0
//
// Makes sessions: reserves their memory, gives them their place in the table, and makes their first
// version. Services create new sessions here, and code that loads saved sessions restores them
// here.
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

// The memory of a session that is not made yet.
struct PreparedSession {
  core::SessionConfig config;
  MemoryBudget::Reservation memory;
  std::unique_ptr<core::Parameters> values;  // of version 0; zeros, for the caller to fill
};

// Thread-safe. The constructor's arguments outlive the factory and its sessions.
class SessionFactory {
 public:
  struct Made {
    std::shared_ptr<SessionHost> host;
    bool is_new = false;  // false: the same request had made the session before
  };
  using Done = absl::AnyInvocable<void(absl::StatusOr<Made>)>;

  SessionFactory(SessionTable& table, MemoryBudget& memory, Env& env)
      : table_(table), memory_(memory), env_(env) {}

  // The identity of a new session, with a new history and the present time.
  SessionIdentity NewIdentity(const std::string& session_id, const std::string& request_id,
                              uint32_t request_digest);

  // What a session of `config` would tell of itself if it got its memory now. The session has no
  // history, because it is not made. Fails with MEMORY_QUOTA.
  absl::StatusOr<SessionDescription> DryRun(SessionIdentity identity,
                                            const core::SessionConfig& config) const;

  // Makes a session. `done` is called when version 0 is visible, or at once if the same request
  // made the session before. Must be called on a thread that may compute. Fails with
  // SESSION_EXISTS, TOO_MANY_SESSIONS or MEMORY_QUOTA; then no session was made.
  void Create(const SessionIdentity& identity, const core::SessionConfig& config,
              InitialSource source, Done done);

  // Takes the memory of a session whose initial values are still to come. Fails with MEMORY_QUOTA.
  absl::StatusOr<PreparedSession> Prepare(core::SessionConfig config) const;
  // As the Create above, once `prepared.values` are filled.
  void Create(const SessionIdentity& identity, PreparedSession prepared, Done done);

  // Puts a loaded session back under its id, with the history that the session has. Fails as Create
  // does.
  absl::StatusOr<std::shared_ptr<SessionHost>> Restore(SessionIdentity identity,
                                                       std::unique_ptr<core::Session> session);

 private:
  absl::StatusOr<std::shared_ptr<SessionHost>> Insert(const SessionIdentity& identity,
                                                      const core::SessionConfig& config,
                                                      MemoryBudget::Reservation memory);
  void Create(const SessionIdentity& identity, const core::SessionConfig& config,
              absl::StatusOr<MemoryBudget::Reservation> memory, InitialSource source, Done done);

  SessionTable& table_;
  MemoryBudget& memory_;
  Env& env_;
};

}  // namespace talweg::server
