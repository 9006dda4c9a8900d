// SPDX-License-Identifier: Apache-2.0
//
// For tests only: a disk so slow that a test sees what waits for it.
#pragma once

#include <deque>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "server/runtime/env.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// The event of a decision, and the durable changes that the decision names.
inline std::string NameOf(const Decision& decision) {
  constexpr const char* kEvents[] = {"join",  "heartbeat", "leave", "contribution",
                                     "ended", "tick",      "step",  "configure"};
  constexpr const char* kChanges[] = {"admitted", "refused", "configured", "made"};
  constexpr const char* kSearchChanges[] = {"admitted", "told", "configured", "made"};
  std::string name;
  if (decision.event != nullptr) {
    name = kEvents[decision.event->index()];
  } else {
    name = std::holds_alternative<core::Ask>(*decision.search_event) ? "ask" : "tell";
  }
  for (const core::DurableChange& change : decision.effects.durable) {
    name += std::string(" ") + kChanges[change.index()];
  }
  if (decision.search == nullptr) return name;
  for (const core::SearchDurable& change : decision.search->durable) {
    name += std::string(" ") + kSearchChanges[change.index()];
  }
  return name;
}

// A slow disk: nothing is kept before the test says so.
class SlowDisk final : public PoolEnv {
 public:
  using PoolEnv::PoolEnv;

  void Keep(const Decision& decision, Task kept) override {
    MutexLock lock(mutex_);
    names_.push_back(NameOf(decision));
    writing_.push_back(std::move(kept));
  }

  // The names of the decisions that are not kept yet.
  std::vector<std::string> Writing() {
    MutexLock lock(mutex_);
    return {names_.begin(), names_.end()};
  }
  // Keeps the oldest of these decisions.
  void FinishWrite() {
    Task kept;
    {
      MutexLock lock(mutex_);
      kept = std::move(writing_.front());
      writing_.pop_front();
      names_.pop_front();
    }
    kept();
  }

 private:
  Mutex mutex_;
  std::deque<std::string> names_ ABSL_GUARDED_BY(mutex_);
  std::deque<Task> writing_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace talweg::server
