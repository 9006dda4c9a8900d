// SPDX-License-Identifier: Apache-2.0
//
// Bounded staleness: decides which workers are too far ahead of the slowest one, and keeps those
// whose answers are held until the slowest has come up. Only this room includes this file.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/time/time.h"
#include "core/rounds/worker.h"

namespace talweg::core {

// Thread-compatible. Without bounded staleness it counts nobody, and nobody is ahead.
class Clocks {
 public:
  // `greatest` is the greatest clock that there ever was.
  explicit Clocks(bool bounded, uint64_t greatest = 0) : bounded_(bounded), greatest_(greatest) {}

  // Counts the worker among those that others wait for, if it lives and gives gradients. If it was
  // not counted before, it starts at the least clock, and owes a verdict from `now` on.
  void Count(Worker& worker, absl::Time now) {
    if (!bounded_ || worker.counted || !worker.live || !worker.gives_gradients()) return;
    worker.clock = std::max(worker.clock, least());
    worker.counted = true;
    worker.progress_from = now;
    Add(worker.clock);
  }
  // The worker of a saved state is counted at the clock that it had.
  void CountAsSaved(Worker& worker);
  // Counts the worker no longer: nobody waits for it.
  void Uncount(Worker& worker);
  // The worker got a verdict.
  void Advance(Worker& worker) {
    if (bounded_) AdvanceBounded(worker);
  }

  // Whether the worker's clock is more than `allowed` above the least.
  bool IsAhead(const Worker& worker, uint64_t allowed) const {
    if (!bounded_ || counts_.empty()) return false;
    return worker.clock > least() && worker.clock - least() > allowed;
  }
  // Holds the worker's settled answer.
  void Hold(uint32_t index, Worker& worker);
  // Returns a worker that is ahead no longer, and holds its answer no longer; Workers::kNone if
  // there is no such worker.
  uint32_t LetGo(Workers& workers, uint64_t allowed);

  // Whether an answer is held. O(n) in the number of workers that were held and moved on.
  bool HoldsAnybody(const Workers& workers) const;

  bool empty() const { return counts_.empty(); }
  // If nobody is counted, this is the greatest clock that there ever was: all workers that come
  // then begin at the same clock.
  uint64_t least() const { return counts_.empty() ? greatest_ : counts_.begin()->first; }
  uint64_t greatest() const { return greatest_; }

  // For audits: whether `counts` says how many workers are counted at each clock, and whether the
  // worker is in the list of those whose answer is held.
  bool Are(const std::map<uint64_t, uint32_t>& counts) const { return counts_ == counts; }
  bool Holds(uint32_t index, const Worker& worker) const;

 private:
  void AdvanceBounded(Worker& worker);
  void Add(uint64_t clock);
  void Remove(uint64_t clock);

  bool bounded_;
  std::map<uint64_t, uint32_t> counts_;  // as many entries as clocks differ, which is few
  uint64_t greatest_;
  std::map<uint64_t, std::vector<uint32_t>> held_;  // workers whose answer is held, by clock
};

}  // namespace talweg::core
