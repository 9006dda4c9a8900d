// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/session_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"

namespace talweg::server {

using core::MakeError;
using core::Reason;

namespace {

absl::Status NotFound(const std::string& session_id) {
  return MakeError(Reason::kSessionNotFound, absl::StrCat("no session \"", session_id, "\""));
}

}  // namespace

absl::Status SessionExists(const std::string& session_id) {
  return MakeError(Reason::kSessionExists,
                   absl::StrCat("another request made a session \"", session_id, "\""));
}

absl::StatusOr<std::shared_ptr<SessionHost>> SessionTable::Find(
    const std::string& session_id) const {
  MutexLock lock(mutex_);
  const auto found = sessions_.find(session_id);
  if (found == sessions_.end()) return NotFound(session_id);
  return found->second;
}

absl::StatusOr<std::shared_ptr<SessionHost>> SessionTable::FindSameRequest(
    const SessionIdentity& identity) const {
  MutexLock lock(mutex_);
  const auto found = sessions_.find(identity.session_id);
  if (found == sessions_.end()) return nullptr;
  const SessionIdentity& made = found->second->identity();
  if (identity.request_id.empty() || identity.request_id != made.request_id ||
      identity.request_digest != made.request_digest) {
    return SessionExists(identity.session_id);
  }
  return found->second;
}

absl::Status SessionTable::Insert(std::shared_ptr<SessionHost> host) {
  const std::string& session_id = host->identity().session_id;
  MutexLock lock(mutex_);
  if (sessions_.contains(session_id)) return SessionExists(session_id);
  TALWEG_RETURN_IF_ERROR(Room(1));
  sessions_.emplace(session_id, std::move(host));
  return absl::OkStatus();
}

absl::Status SessionTable::CheckRoom(size_t num_more) const {
  MutexLock lock(mutex_);
  return Room(num_more);
}

absl::Status SessionTable::Room(size_t num_more) const {
  if (sessions_.size() + num_more <= max_sessions_) return absl::OkStatus();
  return MakeError(Reason::kTooManySessions, absl::StrCat("the server holds ", sessions_.size(),
                                                          " sessions, allowed: ", max_sessions_));
}

absl::Status SessionTable::Delete(const std::shared_ptr<SessionHost>& host, uint64_t history) {
  // Before the table's lock: the host has one of its own.
  if (history != 0) {
    const absl::Status current = host->CheckHistory(history);
    if (!current.ok()) return current;
  }
  const std::string& session_id = host->identity().session_id;
  {
    MutexLock lock(mutex_);
    const auto found = sessions_.find(session_id);
    if (found == sessions_.end() || found->second != host) return NotFound(session_id);
    sessions_.erase(found);
  }
  host->Delete();
  return absl::OkStatus();
}

void SessionTable::Drain(const absl::Status& draining) {
  for (const auto& host : List("", max_sessions_)) host->Drain(draining);
}

std::vector<std::shared_ptr<SessionHost>> SessionTable::List(const std::string& after,
                                                             size_t limit) const {
  std::vector<std::shared_ptr<SessionHost>> page;
  MutexLock lock(mutex_);
  for (auto next = sessions_.upper_bound(after); next != sessions_.end() && page.size() < limit;
       ++next) {
    page.push_back(next->second);
  }
  return page;
}

}  // namespace talweg::server
