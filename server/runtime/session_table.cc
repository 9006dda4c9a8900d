// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/session_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"

namespace talweg::server {

using core::MakeError;
using core::Reason;

namespace {

absl::Status NotFound(const std::string& session_id) {
  return MakeError(Reason::kSessionNotFound, absl::StrCat("no session \"", session_id, "\""));
}

absl::Status Exists(const std::string& session_id) {
  return MakeError(Reason::kSessionExists,
                   absl::StrCat("another request made a session \"", session_id, "\""));
}

}  // namespace

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
    return Exists(identity.session_id);
  }
  return found->second;
}

absl::Status SessionTable::Insert(std::shared_ptr<SessionHost> host) {
  const std::string& session_id = host->identity().session_id;
  MutexLock lock(mutex_);
  if (sessions_.contains(session_id)) return Exists(session_id);
  if (sessions_.size() >= max_sessions_) {
    return MakeError(Reason::kTooManySessions, absl::StrCat("the server holds ", sessions_.size(),
                                                            " sessions, allowed: ", max_sessions_));
  }
  sessions_.emplace(session_id, std::move(host));
  return absl::OkStatus();
}

absl::Status SessionTable::Delete(const std::string& session_id, uint64_t history) {
  std::shared_ptr<SessionHost> host;
  bool erased = false;
  {
    MutexLock lock(mutex_);
    const auto found = sessions_.find(session_id);
    if (found == sessions_.end()) return NotFound(session_id);
    host = found->second;
    erased = history == 0 || history == host->identity().history;
    if (erased) sessions_.erase(found);
  }
  // This is done outside the table's lock, because the host has a lock of its own.
  if (!erased) return host->CheckHistory(history);
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
