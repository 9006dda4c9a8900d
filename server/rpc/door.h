// SPDX-License-Identifier: Apache-2.0
//
// The one door of the server: every call of every service begins here, finds its session here, and
// is reported here when it has ended. No gRPC: what a call is made of comes as CallFacts.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "server/calls/doorkeeper.h"
#include "server/ops/drain_gate.h"
#include "server/runtime/mutex.h"
#include "server/runtime/session_table.h"

namespace talweg::server {

// What every call passes. The door borrows its table, gate and doorkeepers, and outlives the calls.
// Thread-safe.
class Door {
 public:
  // The doorkeepers are asked in this order, and the first that refuses a call is the last one to
  // hear of it: those that only look on come first.
  Door(const SessionTable& sessions, const DrainGate& gate, std::vector<Doorkeeper*> keepers)
      : sessions_(sessions), gate_(gate), keepers_(std::move(keepers)) {}

 private:
  friend class Call;
  const SessionTable& sessions_;
  const DrainGate& gate_;
  const std::vector<Doorkeeper*> keepers_;
};

// One call, from its beginning to its end; lives as long as the reactor that serves it.
// Thread-safe.
class Call {
 public:
  // Begins the call: the doorkeepers are asked.
  Call(const Door& door, CallFacts facts);
  // Reports the end of the call unless it was reported already.
  ~Call() { Over(); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // What the doorkeepers said: OK, or what the call must end with before its request is looked at.
  const absl::Status& let_in() const { return let_in_; }

  // Counts the bytes of the request and checks what holds for every request: fails as let_in()
  // does, with DRAINING or with FIELD_UNKNOWN.
  absl::Status Admit(const google::protobuf::Message& request);
  // Begins a call on one session: Admit, then the check of the name, then Find.
  absl::StatusOr<std::shared_ptr<SessionHost>> Enter(const google::protobuf::Message& request,
                                                     const std::string& session_id);
  // Finds the session of that id. SESSION_NOT_FOUND, also if the call may not see the session.
  absl::StatusOr<std::shared_ptr<SessionHost>> Find(const std::string& session_id);
  // The session that this very request made before; null if the id is free. SESSION_EXISTS if
  // another request made it, or if the call may not see it.
  absl::StatusOr<std::shared_ptr<SessionHost>> FindSameRequest(const SessionIdentity& identity);
  // At most `limit` of the sessions that the call may see, in the order of their ids, which are
  // larger than `after`.
  std::vector<std::shared_ptr<SessionHost>> List(std::string after, size_t limit);

  // Notes the session that the call is about, for the report of its end. Find does so by itself.
  void Names(const std::string& session_id);
  // Tell the doorkeepers that the call made this session, or deleted it.
  void SessionCreated(const SessionHost& host);
  void SessionDeleted(const SessionHost& host);

  // Count the bytes of messages that the server took, or gave to gRPC.
  void CountIn(uint64_t bytes) { bytes_in_ += bytes; }
  void CountOut(uint64_t bytes) { bytes_out_ += bytes; }

  // Decides how the call ends. The first decision counts.
  void Decide(const absl::Status& status);
  // The call is over: its end is reported, once. It ended as was decided, or as CANCELLED if nobody
  // decided or the client had gone before the decision could reach it.
  void Over(bool client_has_gone = false);

 private:
  bool MaySee(const SessionHost& host) const;

  const Door& door_;
  const CallFacts facts_;
  const absl::Time began_;  // when the call began, by the monotonic clock
  absl::Status let_in_;
  size_t num_let_in_ = 0;  // doorkeepers that said OK: they are told the end
  std::atomic<uint64_t> bytes_in_{0};
  std::atomic<uint64_t> bytes_out_{0};

  Mutex mutex_;
  bool decided_ ABSL_GUARDED_BY(mutex_) = false;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::string session_id_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace talweg::server
