// SPDX-License-Identifier: Apache-2.0
//
// The records that tell which contributions made a version, for the newest versions. Reading them
// does not wait for the session's queue. They are packed, because they are many and seldom read: a
// member needs about 20 bytes and its name.
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

  // All records except the newest need at most `max_bytes` together; the oldest are dropped.
  // `to_wall` is added to the times of records, which makes them times of the wall clock.
  VersionRecords(uint64_t max_bytes, absl::Duration to_wall)
      : max_bytes_(max_bytes), to_wall_(to_wall) {}

  // `record` has a later version than all records before it.
  void Append(const core::VersionRecord& record);
  // Forgets all records, and keeps none from now on.
  void Close();

  // The first records after `version`: at most `max_records`, and only as many as have at most
  // `max_members` members together (but always the first one). Times are those of the wall clock.
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
