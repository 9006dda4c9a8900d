// SPDX-License-Identifier: Apache-2.0
//
// The statistics that came for the next version. They have a clock of their own: they open and
// close no round, and they are part of the version that is made next, whichever contributions make
// it. Only this room includes this file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/rounds/event.h"

namespace talweg::core {

struct OpenStatistics {
  // More than these would make a version's record too long. Every worker may contribute many.
  static constexpr size_t kMaxMembers = 65536;

  struct Place {
    uint32_t digest;
    bool is_alone;  // It came without a gradient.
  };

  std::vector<StatisticsMember> members;
  std::vector<Place> places;        // of the members
  uint64_t num_samples = 0;         // of all members
  uint64_t installed_inverses = 0;  // as in VersionRecord

  // One of a worker's contributions becomes part of the next version.
  void Add(const Contribution& contribution, absl::Time now);
  bool IsFull() const { return members.size() >= kMaxMembers; }
};

}  // namespace talweg::core
