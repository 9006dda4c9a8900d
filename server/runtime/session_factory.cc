// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/session_factory.h"

#include <new>
#include <utility>

#include "core/base/reasons.h"
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
    const SessionIdentity& identity, const core::SessionConfig& config,
    MemoryBudget::Reservation memory) {
  auto host = std::make_shared<SessionHost>(identity, config, std::move(memory), env_);
  TALWEG_RETURN_IF_ERROR(table_.Insert(host));
  return host;
}

absl::StatusOr<PreparedSession> SessionFactory::Prepare(core::SessionConfig config) const {
  TALWEG_ASSIGN_OR_RETURN(MemoryBudget::Reservation memory, memory_.Reserve(config.MemoryBytes()));
  try {
    auto values = std::make_unique<core::Parameters>(config.layout->num_elements());
    return PreparedSession{std::move(config), std::move(memory), std::move(values)};
  } catch (const std::bad_alloc&) {
    return core::MakeError(core::Reason::kMemoryQuota,
                           "the system has no memory for the initial values");
  }
}

void SessionFactory::Create(const SessionIdentity& identity, const core::SessionConfig& config,
                            InitialSource source, Done done) {
  Create(identity, config, memory_.Reserve(config.MemoryBytes()), std::move(source),
         std::move(done));
}

void SessionFactory::Create(const SessionIdentity& identity, PreparedSession prepared, Done done) {
  Create(identity, prepared.config, std::move(prepared.memory), std::move(prepared.values),
         std::move(done));
}

void SessionFactory::Create(const SessionIdentity& identity, const core::SessionConfig& config,
                            absl::StatusOr<MemoryBudget::Reservation> memory, InitialSource source,
                            Done done) {
  absl::StatusOr<std::shared_ptr<SessionHost>> inserted =
      memory.ok() ? Insert(identity, config, *std::move(memory)) : std::move(memory).status();
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
  identity.history = session->history();
  const core::SessionConfig& config = session->newest_config();
  TALWEG_ASSIGN_OR_RETURN(MemoryBudget::Reservation memory, memory_.Reserve(config.MemoryBytes()));
  TALWEG_ASSIGN_OR_RETURN(std::shared_ptr<SessionHost> host,
                          Insert(identity, config, std::move(memory)));
  host->Restore(std::move(session));
  return host;
}

}  // namespace talweg::server
