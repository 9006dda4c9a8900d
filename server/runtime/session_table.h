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

  // SESSION_NOT_FOUND.
  absl::StatusOr<std::shared_ptr<SessionHost>> Find(const std::string& session_id) const;

  // Puts `host` under its id. TOO_MANY_SESSIONS, and SESSION_EXISTS where another session is there
  // (also where the same request made it: see FindSameRequest).
  absl::Status Insert(std::shared_ptr<SessionHost> host);

  // The session that this very request made before; null where the id is free. SESSION_EXISTS where
  // another request made it, or this one carried no request id.
  absl::StatusOr<std::shared_ptr<SessionHost>> FindSameRequest(
      const SessionIdentity& identity) const;

  // Takes this very session out and ends its calls. SESSION_NOT_FOUND, also if another session has
  // its id by now; HISTORY_CHANGED unless `history` is the session's, or 0.
  absl::Status Delete(const std::shared_ptr<SessionHost>& host, uint64_t history);

  // As SessionHost::Drain, for all sessions.
  void Drain(const absl::Status& draining);

  // At most `limit` sessions whose id is larger than `after`, in the order of their ids.
  std::vector<std::shared_ptr<SessionHost>> List(const std::string& after, size_t limit) const;

  IncarnationCounter& incarnations() { return incarnations_; }

 private:
  const size_t max_sessions_;
  IncarnationCounter incarnations_;
  mutable Mutex mutex_;
  std::map<std::string, std::shared_ptr<SessionHost>> sessions_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace talweg::server
