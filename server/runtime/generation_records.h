// SPDX-License-Identifier: Apache-2.0
//
// The losses of the generations that have closed, for clients that replay them. The newest ones are
// kept. Reading them does not wait for the session's queue.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "server/calls/session_calls.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// Thread-safe. Moving pointers is all that is done under its lock.
class GenerationRecords {
 public:
  // `closed` has the version after that of the last one.
  void Append(ClosedGeneration closed);
  // Forgets all of them, and keeps none from now on.
  void Close();

  // The generation that made `version`; not set if it is not kept, or is still to come.
  std::optional<ClosedGeneration> Of(uint64_t version) const;
  uint64_t bytes() const;

 private:
  // Generations that stand side by side mostly share their configuration. Its bytes count unless it
  // is `neighbour`.
  static uint64_t BytesOf(const ClosedGeneration& closed, const core::SessionConfig* neighbour);

  mutable Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<ClosedGeneration> entries_ ABSL_GUARDED_BY(mutex_);
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace talweg::server
