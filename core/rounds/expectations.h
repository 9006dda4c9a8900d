// SPDX-License-Identifier: Apache-2.0
//
// Decides which workers the open round expects, and since when a worker owes a verdict. A
// synchronous round freezes its expectations once, as a number: membership in it is a serial number
// that workers compare, so that opening a round looks at nobody. Only this room includes this file.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/rounds/open_round.h"
#include "core/rounds/round_description.h"
#include "core/rounds/worker.h"

namespace talweg::core {

// The workers that `choose` accepts, as a list. The first names are chosen by their order, so every
// run lists the same names. O(n).
template <class Choose>
WorkerList ListOf(const Workers& workers, const Choose& choose) {
  WorkerList list;
  const auto less = [&](uint32_t a, uint32_t b) { return workers[a].name < workers[b].name; };
  std::vector<uint32_t> first;  // a heap, with the last of them on top
  workers.ForEach([&](uint32_t index) {
    if (!choose(workers[index])) return;
    ++list.count;
    if (first.size() == kMaxLateNames) {
      if (!less(index, first.front())) return;
      std::pop_heap(first.begin(), first.end(), less);
      first.pop_back();
    }
    first.push_back(index);
    std::push_heap(first.begin(), first.end(), less);
  });
  std::sort_heap(first.begin(), first.end(), less);
  list.names.reserve(first.size());
  for (const uint32_t index : first) list.names.push_back(workers[index].name);
  return list;
}
// Names, each once, as a list.
WorkerList ListOf(std::vector<std::string> names);

// The workers that a round closes without.
struct Missing {
  WorkerList late;     // live
  WorkerList expired;  // Their lease ended while the round was open.
};

// Thread-compatible.
class Expectations {
 public:
  // Each round has a serial number of its own, by which workers remember their part in it.
  uint64_t serial() const { return serial_; }
  bool frozen() const { return frozen_; }
  absl::Time frozen_at() const { return frozen_at_; }
  uint64_t outstanding() const { return outstanding_; }  // workers that are still expected
  size_t num_stalled() const { return num_stalled_; }

  bool Expects(const Worker& worker) const {
    return frozen_ && worker.live && worker.gives_gradients() && !worker.stalled &&
           worker.excluded_from != serial_ && worker.contributed_to != serial_;
  }
  // The live gradient workers of this moment are expected, except those that stalled, that have
  // contributed to `round`, or that wait for its close without being part of it.
  void Freeze(const OpenRound& round, Workers& workers, size_t num_live_gradient, absl::Time now);
  // The worker is expected no longer.
  void Release(Worker& worker);
  // Likewise, but it contributed nothing: it is late.
  void ReleaseLate(Worker& worker);
  // The worker came after the freeze, so the round does not expect it.
  void Exclude(Worker& worker) {
    if (frozen_) worker.excluded_from = serial_;
  }

  // The worker has a part in the round, which makes `version`: it is expected no longer, and counts
  // once.
  void Contributed(Worker& worker, uint64_t version) {
    if (Expects(worker)) --outstanding_;
    worker.contributed_to = serial_;
    worker.part_of_version = version;
    worker.lease_ended = false;
  }
  bool HasContributed(const Worker& worker) const { return worker.contributed_to == serial_; }
  // The worker has no part in the round any more, and is not expected in it either.
  void TakeNoPart(Worker& worker) {
    worker.contributed_to = 0;
    worker.excluded_from = serial_;
  }

  // The worker's gradient was too old. Returns whether that is the first time in this round.
  bool IsFirstOutdated(Worker& worker);

  // The worker, which is expected, made no progress: no round expects it until it does.
  void Stall(Worker& worker);
  // The worker made progress.
  void Resume(Worker& worker) {
    if (!worker.stalled) return;
    worker.stalled = false;
    --num_stalled_;
    Exclude(worker);
  }
  // The worker lives no longer; `expired`: because its lease ended.
  void Gone(Worker& worker, bool expired);

  // Since when a worker that is waited for has owed a verdict; InfiniteFuture if it owes none.
  absl::Time OwesSince(const Worker& worker) const;

  // The workers that are still expected. O(n).
  WorkerList Expected(const Workers& workers) const;
  // The workers that were expected at the freeze, contributed nothing, and are expected no longer.
  // O(n).
  WorkerList Late(const Workers& workers) const;
  // The workers that were expected at the freeze and have contributed nothing, as the round closes.
  // O(n), and O(1) if there are none.
  Missing MissAtClose(const Workers& workers) const;

  // The round closes, and the next one expects nobody yet.
  void BeginNextRound();

  // Only for the mutation kKeepExpecting.
  void CountOneMore() { ++outstanding_; }

 private:
  // Those of the workers of these names that have not contributed to the round.
  std::vector<std::string> WithoutContribution(const std::vector<std::string>& names,
                                               const Workers& workers) const;

  uint64_t serial_ = 1;
  bool frozen_ = false;
  absl::Time frozen_at_;
  uint64_t outstanding_ = 0;
  size_t num_stalled_ = 0;  // of the live gradient workers
  // Names of workers that were released without a contribution. Some may have contributed since.
  std::vector<std::string> late_;
  std::vector<std::string> expired_;  // those whose lease ended
};

}  // namespace talweg::core
