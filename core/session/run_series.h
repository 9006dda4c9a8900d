// SPDX-License-Identifier: Apache-2.0
//
// A run as it is remembered: a record of each step, thinned so that a bounded number of them covers
// the whole run, however long it gets.
//
// Records 0, s, 2s, ... of the run are kept, s being the stride, and the newest one behind them. s
// is 1 until kCapacity records are there; when the next one needs a place, every second one goes
// and s doubles. So the first record and the newest are always there, no gap is larger than s, at
// least half of the places are in use from then on, and what is kept depends on the number of
// records alone. Append costs a constant time on average, kCapacity / 2 moves at worst.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "core/rounds/event.h"

namespace talweg::core {

// A step that was taken.
struct RunRecord {
  uint64_t version = 0;           // that it made
  absl::Time time;                // when that became visible, by the wall clock
  StepReport report;              // as it was told, without the names of late workers
  double step_seconds = 0;        // from the judgement that ordered it until it was visible
  double seconds_since_last = 0;  // since the version before it became visible
};

// A value. It is no part of a session's state: nothing is decided by it, no checksum covers it.
class RunSeries {
 public:
  static constexpr size_t kCapacity = 4096;
  static constexpr size_t kBytes = kCapacity * sizeof(RunRecord);

  // Takes kBytes of memory; no later call takes any but for its result.
  RunSeries() { records_.reserve(kCapacity); }

  // `record` has a larger version than all before it.
  void Append(const RunRecord& record);

  // In the order of their versions.
  const std::vector<RunRecord>& records() const { return records_; }
  uint64_t stride() const { return stride_; }
  // 0 where there is none.
  uint64_t newest_version() const { return records_.empty() ? 0 : records_.back().version; }

  // Adds the first `limit` records of a version larger than `version` to `to`.
  void CopyAfter(uint64_t version, size_t limit, std::vector<RunRecord>& to) const;

 private:
  std::vector<RunRecord> records_;
  uint64_t num_appended_ = 0;
  uint64_t stride_ = 1;
};

}  // namespace talweg::core
