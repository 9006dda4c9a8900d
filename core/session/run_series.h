// SPDX-License-Identifier: Apache-2.0
//
// What is remembered of a run: a record of each step, thinned so that a bounded number of records
// covers the whole run, however long it gets.
//
// Records 0, s, 2s, ... of the run are kept, and the newest record behind them; s is the stride.
// The stride is 1 until there are kCapacity records. When the next record needs a place, every
// second record is dropped and the stride doubles. So the first and the newest record are always
// there, no gap is larger than s, at least half of the places are in use from then on, and which
// records are kept depends on their number alone. Append takes a constant time on average, and
// kCapacity / 2 moves at worst.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "core/rounds/event.h"

namespace talweg::core {

// A step that was taken.
struct RunRecord {
  uint64_t version = 0;           // the version that it made
  absl::Time time;                // when that version became visible, by the wall clock
  StepNumbers report;             // as it was reported; the version's record has the names
  double step_seconds = 0;        // from the judgement that ordered it until it was visible
  double seconds_since_last = 0;  // since the previous version became visible
  RefusalCounts refusals;         // up to then
};

// A value. It is no part of a session's state: no decision depends on it, and no checksum covers
// it.
class RunSeries {
 public:
  static constexpr size_t kCapacity = 4096;
  static constexpr size_t kBytes = kCapacity * sizeof(RunRecord);

  // Allocates kBytes of memory. No later call allocates memory, except for its result.
  RunSeries() { records_.reserve(kCapacity); }

  // `record` has a larger version than all records before it.
  void Append(const RunRecord& record);

  // In the order of their versions.
  const std::vector<RunRecord>& records() const { return records_; }
  uint64_t stride() const { return stride_; }
  // 0 if there is no record.
  uint64_t newest_version() const { return records_.empty() ? 0 : records_.back().version; }

  // Adds to `to` the first `limit` records whose version is larger than `version`.
  void CopyAfter(uint64_t version, size_t limit, std::vector<RunRecord>& to) const;

 private:
  std::vector<RunRecord> records_;
  uint64_t num_appended_ = 0;
  uint64_t stride_ = 1;
};

}  // namespace talweg::core
