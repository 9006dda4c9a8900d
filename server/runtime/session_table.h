// SPDX-License-Identifier: Apache-2.0
//
// Which sessions there are, by id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/runtime/incarnation_counter.h"
#include "server/runtime/mutex.h"
#include "server/runtime/session_host.h"

namespace talweg::server {

// SESSION_EXISTS: another request made the session of this id.
absl::Status SessionExists(const std::string& session_id);

// Thread-safe.
class SessionTable {
 public:
  explicit SessionTable(size_t max_sessions) : max_sessions_(max_sessions) {}

  // Fails with SESSION_NOT_FOUND.
  absl::StatusOr<std::shared_ptr<SessionHost>> Find(const std::string& session_id) const;

  // Puts `host` under its id. Fails with TOO_MANY_SESSIONS, and with SESSION_EXISTS if another
  // session has that id (even if the same request made that session: see FindSameRequest).
  absl::Status Insert(std::shared_ptr<SessionHost> host);

  // TOO_MANY_SESSIONS if there is no room for `num_more` more sessions.
  absl::Status CheckRoom(size_t num_more) const;

  // The session that this very request made before; null if the id is free. Fails with
  // SESSION_EXISTS if another request made the session, or if this request carries no request id.
  absl::StatusOr<std::shared_ptr<SessionHost>> FindSameRequest(
      const SessionIdentity& identity) const;

  // Removes this very session and ends its calls. Fails with SESSION_NOT_FOUND, also if another
  // session has its id by now, and with HISTORY_CHANGED unless `history` is 0 or that of the
  // session.
  absl::Status Delete(const std::shared_ptr<SessionHost>& host, uint64_t history);

  // As SessionHost::Drain, for all sessions.
  void Drain(const absl::Status& draining);

  // At most `limit` sessions whose id is larger than `after`, in the order of their ids.
  std::vector<std::shared_ptr<SessionHost>> List(const std::string& after, size_t limit) const;

  IncarnationCounter& incarnations() { return incarnations_; }

 private:
  absl::Status Room(size_t num_more) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t max_sessions_;
  IncarnationCounter incarnations_;
  mutable Mutex mutex_;
  std::map<std::string, std::shared_ptr<SessionHost>> sessions_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace talweg::server
