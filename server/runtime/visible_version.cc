// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/visible_version.h"

#include <utility>

namespace talweg::server {

// In both functions the replaced state is destroyed after the lock is released, because its pool
// has a lock of its own.

void VisibleVersion::Publish(VisibleState state) {
  MutexLock lock(mutex_);
  if (cleared_) {
    state_.group_map.swap(state.group_map);
    return;
  }
  const bool is_new =
      state_.parameters == nullptr || state_.parameters->version != state.parameters->version;
  if (is_new) {
    recent_.push_back(state.parameters);
    if (recent_.size() > kMaxRecent) recent_.pop_front();
  }
  std::swap(state_, state);
}

void VisibleVersion::Clear() {
  std::shared_ptr<const core::Parameters> last;
  MutexLock lock(mutex_);
  cleared_ = true;
  last.swap(state_.parameters);
}

VisibleState VisibleVersion::Get() const {
  MutexLock lock(mutex_);
  return state_;
}

uint64_t VisibleVersion::number() const {
  MutexLock lock(mutex_);
  return state_.parameters == nullptr ? 0 : state_.parameters->version;
}

std::shared_ptr<const core::Parameters> VisibleVersion::Held(uint64_t version) const {
  MutexLock lock(mutex_);
  if (cleared_) return nullptr;
  for (const auto& recent : recent_) {
    std::shared_ptr<const core::Parameters> held = recent.lock();
    if (held != nullptr && held->version == version) return held;
  }
  return nullptr;
}

}  // namespace talweg::server
