// SPDX-License-Identifier: Apache-2.0
//
// The calls that wait until a session has reached a version: each is a callback and holds no
// thread.
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

  // Calls `callback` once, under no lock, at once or on the thread that calls Reach or End. Its
  // status is OK if the session is at `version` or later; else it is the status of End. Returns the
  // place in the line, for Forget; 0 if the callback was called at once.
  uint64_t Await(uint64_t version, Callback callback) {
    return Add({version, std::move(callback), false});
  }
  // The same, but the status is also OK once the session is finished, and no version comes.
  uint64_t AwaitOrFinish(uint64_t version, Callback callback) {
    return Add({version, std::move(callback), true});
  }
  // Gives up a place in the line. Returns whether its callback was still waiting; if so, it will
  // not be called.
  bool Forget(uint64_t place);

  // The session has reached `version`, and makes no further one if it is finished. Versions never
  // go back; a finished session may go on.
  void Reach(uint64_t version, bool finished = false);
  // The version that was reached last.
  uint64_t reached() const {
    MutexLock lock(mutex_);
    return version_;
  }
  bool finished() const {
    MutexLock lock(mutex_);
    return finished_;
  }
  // Ends all waits with `status`, and likewise every wait that would begin later. The status of the
  // first call of End counts.
  void End(const absl::Status& status);

 private:
  using Key = std::pair<uint64_t, uint64_t>;  // version, place
  struct Wait {
    uint64_t version = 0;
    Callback callback;
    bool or_finish = false;
  };

  uint64_t Add(Wait wait);
  bool IsOver(const Wait& wait) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return wait.version <= version_ || (finished_ && wait.or_finish);
  }

  mutable Mutex mutex_;
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 0;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);  // OK: End was not called yet
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<Key, Wait> line_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, uint64_t> versions_ ABSL_GUARDED_BY(mutex_);  // by place
};

}  // namespace talweg::server
