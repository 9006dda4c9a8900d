// SPDX-License-Identifier: Apache-2.0
//
// The numbers that name the processes of workers.
#pragma once

#include <atomic>
#include <cstdint>

namespace talweg::server {

// Issues incarnations for all sessions, each larger than all incarnations before. Thread-safe.
class IncarnationCounter {
 public:
  uint64_t Issue() { return ++last_; }
  // The incarnation that was issued last, for a store that keeps it.
  uint64_t last() const { return last_; }
  // Continues after the incarnation that a store has kept, and never goes back.
  void ContinueAfter(uint64_t last) {
    uint64_t issued = last_;
    while (issued < last && !last_.compare_exchange_weak(issued, last)) {
    }
  }

 private:
  std::atomic<uint64_t> last_{0};
};

}  // namespace talweg::server
