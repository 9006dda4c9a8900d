// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/session_factory.h"

#include <utility>

#include "core/base/status_macros.h"

namespace talweg::server {

SessionIdentity SessionFactory::NewIdentity(const std::string& session_id,
                                            const std::string& request_id,
                                            uint32_t request_digest) {
  return {session_id, request_id, request_digest, env_.NewHistory(), env_.WallNow()};
}

absl::StatusOr<SessionDescription> SessionFactory::DryRun(SessionIdentity identity,
                                                          const core::SessionConfig& config) const {
  TALWEG_RETURN_IF_ERROR(memory_.Check(config.MemoryBytes()));
  SessionDescription description;
  description.identity = std::move(identity);
  description.identity.history = 0;
  description.config = config;
  description.config_version = 1;
  description.memory_bytes = config.MemoryBytes();
  return description;
}

absl::StatusOr<std::shared_ptr<SessionHost>> SessionFactory::Insert(
    const SessionIdentity& identity, const core::SessionConfig& config) {
  TALWEG_ASSIGN_OR_RETURN(MemoryBudget::Reservation memory, memory_.Reserve(config.MemoryBytes()));
  auto host = std::make_shared<SessionHost>(identity, config, std::move(memory), env_);
  TALWEG_RETURN_IF_ERROR(table_.Insert(host));
  return host;
}

void SessionFactory::Create(const SessionIdentity& identity, const core::SessionConfig& config,
                            InitialSource source, Done done) {
  absl::StatusOr<std::shared_ptr<SessionHost>> inserted = Insert(identity, config);
  if (!inserted.ok()) {
    // Perhaps this very request came twice, and the other call was faster.
    absl::StatusOr<std::shared_ptr<SessionHost>> made = table_.FindSameRequest(identity);
    if (made.ok() && *made != nullptr) return done(Made{*std::move(made), false});
    return done(std::move(inserted).status());
  }
  const std::shared_ptr<SessionHost> host = *std::move(inserted);
  host->Create(std::move(source),
               [this, host, done = std::move(done)](absl::Status created) mutable {
                 if (created.ok()) return done(Made{host, true});
                 (void)table_.Delete(host, 0);
                 done(std::move(created));
               });
}

absl::StatusOr<std::shared_ptr<SessionHost>> SessionFactory::Restore(
    SessionIdentity identity, std::unique_ptr<core::Session> session) {
  identity.history = session->machine().history();
  TALWEG_ASSIGN_OR_RETURN(std::shared_ptr<SessionHost> host,
                          Insert(identity, session->newest_config()));
  host->Restore(std::move(session));
  return host;
}

}  // namespace talweg::server
