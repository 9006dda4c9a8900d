// SPDX-License-Identifier: Apache-2.0
//
// The numbers that name the processes of workers.
#pragma once

#include <atomic>
#include <cstdint>

namespace talweg::server {

// Issues incarnations, each larger than all before it, for all sessions. Thread-safe.
class IncarnationCounter {
 public:
  uint64_t Issue() { return ++last_; }
  // The last one issued, for a store that keeps it.
  uint64_t last() const { return last_; }
  // Goes on after what a store has kept.
  void ContinueAfter(uint64_t last) { last_ = last; }

 private:
  std::atomic<uint64_t> last_{0};
};

}  // namespace talweg::server
