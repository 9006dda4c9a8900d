// SPDX-License-Identifier: Apache-2.0
//
// Who made which version: the records of the newest ones, read beside the session's queue. Packed,
// as they are many and seldom read: a member takes about 20 bytes and its name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/rounds/event.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// Thread-safe. Moving pointers is all that is done under its lock.
class VersionRecords {
 public:
  static constexpr size_t kMaxRecords = 4096;
  static constexpr size_t kMaxMembers = 65536;  // of all records together

  struct Page {
    std::vector<core::VersionRecord> records;  // in the order of their versions
    bool more = false;                         // later ones are kept
  };

  // All records but the newest take `max_bytes` together at most; the oldest go. Times of records
  // become wall times by `to_wall`.
  VersionRecords(uint64_t max_bytes, absl::Duration to_wall)
      : max_bytes_(max_bytes), to_wall_(to_wall) {}

  // `record` has a later version than all before it.
  void Append(const core::VersionRecord& record);
  // Forgets all, for good.
  void Close();

  // The first records after `version`: at most `max_records` and, but for the first, so many as
  // have at most `max_members` together. Their times are wall times.
  Page After(uint64_t version, size_t max_records, size_t max_members) const;

  uint64_t bytes() const;

 private:
  struct Entry {
    uint64_t version = 0;
    size_t num_members = 0;
    std::shared_ptr<const std::string> packed;
    uint64_t bytes() const;
  };

  const uint64_t max_bytes_;
  const absl::Duration to_wall_;
  mutable Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Entry> entries_ ABSL_GUARDED_BY(mutex_);
  size_t num_members_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace talweg::server
