// SPDX-License-Identifier: Apache-2.0
//
// The version of a session that everybody may see, and what is told along with it. Reading it does
// not wait for the session's queue.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "core/session/parameter_groups.h"
#include "core/session/parameters.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// What is visible at one moment.
struct VisibleState {
  std::shared_ptr<const core::Parameters> parameters;  // null before version 0, and after Clear
  double next_learning_rate = 0;                       // of the step after that version
  std::shared_ptr<const core::GroupMap> group_map;     // how the vector is cut now
};

// Thread-safe.
class VisibleVersion {
 public:
  // Makes `state` visible, unless Clear came first.
  void Publish(VisibleState state);
  VisibleState Get() const;
  // The number of the visible version; 0 if nothing is visible.
  uint64_t number() const;

  // The parameters of `version`, if this version is visible, or if it is one of the last 16
  // versions and somebody still holds it; else null.
  std::shared_ptr<const core::Parameters> Held(uint64_t version) const;

  // Nothing is visible any more, for good.
  void Clear();

 private:
  static constexpr size_t kMaxRecent = 16;

  mutable Mutex mutex_;
  bool cleared_ ABSL_GUARDED_BY(mutex_) = false;
  VisibleState state_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::weak_ptr<const core::Parameters>> recent_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace talweg::server
