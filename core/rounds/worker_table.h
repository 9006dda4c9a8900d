// SPDX-License-Identifier: Apache-2.0
//
// The workers of a session: found by name, kept close together, woken when something of theirs is
// due.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/rounds/event.h"

namespace talweg::core {

// A call that waits for an answer.
struct WaitingCall {
  uint64_t ticket = 0;
  bool repeats = false;  // the answer will be a remembered one
  bool may_wait = true;  // for other workers; else for the step under way alone
};

struct Worker {
  // The last sequence that has a final verdict; 0: none.
  struct Settled {
    uint64_t sequence = 0;
    uint64_t version = 0;
    std::shared_ptr<const StepReport> report;
    uint32_t digest = 0;
    Verdict verdict = Verdict::kApplied;
  };
  // A later one that has none yet; 0: none.
  struct Pending {
    uint64_t sequence = 0;
    uint32_t digest = 0;
  };

  std::string name;
  uint64_t incarnation = 0;
  absl::Time lease_end;
  absl::Time progress_from;                   // of its last verdict, or of its arrival
  absl::Time alarm = absl::InfiniteFuture();  // when it is looked at next
  Settled settled;
  Pending pending;
  absl::InlinedVector<WaitingCall, 1>
      calls;                    // for the pending sequence, or the settled one where it is held
  uint64_t clock = 0;           // verdicts, with bounded staleness
  uint64_t contributed_to = 0;  // serial of the last round that it is part of
  uint64_t excluded_from = 0;   // serial of the last round that does not expect it any more
  uint64_t outdated_in = 0;     // serial of the last round in which a gradient of it was too old
  bool gradient = true;         // its role
  bool left = false;            // kept only because it is part of the open round
  bool live = false;            // its lease runs
  bool stalled = false;         // lives without progress: no round expects it
  bool counted = false;         // its clock is among those that others wait for
  bool held = false;            // its settled answer waits for slower workers
};

// Thread-compatible. Indexes stay good until their worker is erased; references until the next
// Insert.
class WorkerTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  WorkerTable();
  WorkerTable(WorkerTable&& other) = delete;

  // kNone where there is none of this name.
  uint32_t Find(absl::string_view name) const;
  uint32_t Insert(const std::string& name);  // which is new
  void Erase(uint32_t index);
  size_t size() const { return by_name_.size(); }

  Worker& operator[](uint32_t index) { return workers_[index]; }
  const Worker& operator[](uint32_t index) const { return workers_[index]; }

  // Fetches a worker that is looked at soon, ahead of the memory's latency.
  void Prefetch(uint32_t index) const {
    const char* bytes = reinterpret_cast<const char*>(&workers_[index]);
    for (size_t offset = 0; offset < sizeof(Worker); offset += 64) {
      __builtin_prefetch(bytes + offset, 1);
    }
  }

  // Every index in use, in no order.
  template <class At>
  void ForEach(const At& at) const {
    for (const uint32_t index : by_name_) at(index);
  }
  // In the order of the names.
  std::vector<uint32_t> Sorted() const;

  // Alarms: a worker has one, which may ring early, never late. SetAlarm does nothing where an
  // earlier one is set.
  void SetAlarm(uint32_t index, absl::Time time);
  // The next worker whose alarm is due, which has none then; kNone.
  uint32_t TakeDue(absl::Time now);
  absl::Time NextAlarm() const;
  // Rings all that are set at `time`.
  void RingAll(absl::Time time);

 private:
  struct ByName {
    using is_transparent = void;
    const std::vector<Worker>* workers;
    absl::string_view NameOf(uint32_t index) const { return (*workers)[index].name; }
    absl::string_view NameOf(absl::string_view name) const { return name; }
    template <class A>
    size_t operator()(const A& a) const {
      return absl::Hash<absl::string_view>()(NameOf(a));
    }
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return NameOf(a) == NameOf(b);
    }
  };
  struct Alarm {
    absl::Time time;
    uint32_t index;
    bool operator>(const Alarm& other) const { return time > other.time; }
  };

  std::vector<Worker> workers_;
  std::vector<uint32_t> free_;
  absl::flat_hash_set<uint32_t, ByName, ByName> by_name_;
  void DropStale();

  // The earliest is its worker's alarm; others may have been overtaken by an earlier one.
  std::priority_queue<Alarm, std::vector<Alarm>, std::greater<>> alarms_;
};

}  // namespace talweg::core
