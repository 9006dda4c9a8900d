// SPDX-License-Identifier: Apache-2.0
//
// The calls of a session that wait for other workers. Each is a callback and a few words, and holds
// no thread, no place in a queue and no buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "server/calls/session_calls.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// Called once with the answer to a step.
using StepDone = absl::AnyInvocable<void(absl::StatusOr<StepOutcome>)>;

struct ParkedCall {
  std::string worker;
  bool wants_lookahead = false;
  StepDone done;
};

// Called once with the answer to an ask.
using AskDone = absl::AnyInvocable<void(absl::StatusOr<AskOutcome>)>;

struct ParkedAsk {
  std::string worker;
  AskDone done;
};

// The asks that wait for something to evaluate, by ticket, and so in the order in which they came.
using ParkedAsks = std::map<uint64_t, ParkedAsk>;

// Thread-compatible: it belongs to the operation under way.
class ParkedCalls {
 public:
  void Park(uint64_t ticket, ParkedCall call);
  bool Has(uint64_t ticket) const { return calls_.count(ticket) > 0; }
  // Removes the call and returns it; nothing if no call has this ticket.
  std::optional<ParkedCall> Unpark(uint64_t ticket);
  // Removes the call that has waited longest and returns it with its ticket; nothing if no call
  // waits.
  std::optional<std::pair<uint64_t, ParkedCall>> UnparkFirst();

  // Whether one of the calls wants the lookahead of its version.
  bool AnyWantsLookahead() const { return num_for_lookahead_ > 0; }
  // The worker of the call that has this ticket. There must be such a call.
  const std::string& WorkerOf(uint64_t ticket) const { return calls_.at(ticket).worker; }

 private:
  std::map<uint64_t, ParkedCall> calls_;  // by ticket, and so in the order in which they came
  size_t num_for_lookahead_ = 0;
};

// Tickets of calls whose client has gone: a contribution that is still queued is not judged then.
// Thread-safe.
class AbandonedTickets {
 public:
  void Add(uint64_t ticket) {
    MutexLock lock(mutex_);
    tickets_.insert(ticket);
  }
  void Remove(uint64_t ticket) {
    MutexLock lock(mutex_);
    tickets_.erase(ticket);
  }
  bool Has(uint64_t ticket) const {
    MutexLock lock(mutex_);
    return tickets_.count(ticket) > 0;
  }

 private:
  mutable Mutex mutex_;
  std::set<uint64_t> tickets_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace talweg::server
