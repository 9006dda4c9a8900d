// SPDX-License-Identifier: Apache-2.0
//
// Those who wait until a session has come to a version: no thread, a callback each.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// Thread-safe.
class VersionLine {
 public:
  using Callback = absl::AnyInvocable<void(absl::Status)>;

  // Calls `reached` once, at once or on the thread that brings the version or the end, under no
  // lock: OK where the session is at `version` or later, else what End said. Returns the place in
  // the line, for Forget; 0 where nobody waits.
  uint64_t Await(uint64_t version, Callback callback);
  // Whether that place was still waiting; it is called no more.
  bool Forget(uint64_t place);

  // The session is at `version`, which is no earlier than those before.
  void Reach(uint64_t version);
  // Nobody waits any more: those who do, and those who would, are told `status`. The first one
  // counts.
  void End(const absl::Status& status);

 private:
  using Key = std::pair<uint64_t, uint64_t>;  // version, place

  Mutex mutex_;
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);  // OK: there is none
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<Key, Callback> line_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, uint64_t> versions_ ABSL_GUARDED_BY(mutex_);  // by place
};

}  // namespace talweg::server
