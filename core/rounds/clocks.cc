// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/clocks.h"

namespace talweg::core {

void Clocks::Add(uint64_t clock) {
  ++counts_[clock];
  greatest_ = std::max(greatest_, clock);
}

void Clocks::Remove(uint64_t clock) {
  const auto found = counts_.find(clock);
  if (--found->second == 0) counts_.erase(found);
}

void Clocks::CountAsSaved(Worker& worker) {
  if (!bounded_ || !worker.gives_gradients()) return;
  worker.counted = true;
  Add(worker.clock);
}

void Clocks::Uncount(Worker& worker) {
  if (!worker.counted) return;
  worker.counted = false;
  Remove(worker.clock);
}

void Clocks::AdvanceBounded(Worker& worker) {
  if (worker.counted) {
    Add(worker.clock + 1);
    Remove(worker.clock);
  }
  ++worker.clock;
}

void Clocks::Hold(uint32_t index, Worker& worker) {
  worker.held = true;
  held_[worker.clock].push_back(index);
}

uint32_t Clocks::LetGo(Workers& workers, uint64_t allowed) {
  while (!held_.empty()) {
    std::vector<uint32_t>& slowest = held_.begin()->second;
    while (!slowest.empty()) {
      const uint32_t index = slowest.back();
      Worker& worker = workers[index];
      // A worker that has moved on since stands elsewhere, or nowhere.
      const bool stands_here = worker.held && worker.clock == held_.begin()->first;
      if (stands_here && IsAhead(worker, allowed)) return Workers::kNone;
      slowest.pop_back();
      if (!stands_here) continue;
      worker.held = false;
      return index;
    }
    held_.erase(held_.begin());
  }
  return Workers::kNone;
}

bool Clocks::HoldsAnybody(const Workers& workers) const {
  for (const auto& [clock, indexes] : held_) {
    for (const uint32_t index : indexes) {
      if (workers[index].held && workers[index].clock == clock) return true;
    }
  }
  return false;
}

bool Clocks::Holds(uint32_t index, const Worker& worker) const {
  const auto found = held_.find(worker.clock);
  return found != held_.end() && std::count(found->second.begin(), found->second.end(), index) > 0;
}

}  // namespace talweg::core
