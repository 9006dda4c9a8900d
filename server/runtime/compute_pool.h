// SPDX-License-Identifier: Apache-2.0
//
// The server's own threads for everything that computes. Work comes as jobs of one or many pieces.
// The threads run one piece of each job in turn, so that a large step of one session delays a small
// step of another session by single pieces (tens of microseconds), not by the whole step. Work that
// cannot be cut (the first zeros of a buffer, the checksum of a state) runs as one piece. Nothing
// here blocks: what follows a job is its `done`. The threads keep denormals and round to nearest,
// whatever the thread that made them does.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "server/runtime/mutex.h"
#include "server/runtime/timers.h"

namespace talweg::server {

// Thread-safe.
class ComputePool {
 public:
  using Task = absl::AnyInvocable<void()>;
  using Piece = absl::AnyInvocable<void(size_t)>;

  explicit ComputePool(size_t num_threads);  // >= 1
  // Stops the timers, finishes all work, including work that is posted meanwhile, and then joins
  // the threads.
  ~ComputePool();
  ComputePool(const ComputePool&) = delete;
  ComputePool& operator=(const ComputePool&) = delete;

  // Runs `task` on a thread of the pool.
  void Post(Task task);

  // Runs piece(0) … piece(num_pieces - 1) on threads of the pool, in any order and at the same
  // time, then `done` once, on the thread that finished last. If there is a single piece and the
  // caller is a thread of the pool, the piece and `done` run before this function returns.
  void RunPieces(size_t num_pieces, Piece piece, Task done);

  size_t num_threads() const { return threads_.size(); }

  // For work that is to be posted later. The timers stop when the pool is destroyed, and calls that
  // are still to come are dropped.
  Timers& timers() { return timers_; }

 private:
  struct Job {
    Piece piece;
    Task done;
    size_t num_pieces = 0;
    size_t next_piece = 0;  // guarded by the pool's mutex
    std::atomic<size_t> unfinished{0};
  };

  void Enqueue(std::shared_ptr<Job> job);
  void RunThread();

  Timers timers_;
  Mutex mutex_;
  std::condition_variable work_;
  std::deque<std::shared_ptr<Job>> jobs_ ABSL_GUARDED_BY(mutex_);
  size_t busy_ ABSL_GUARDED_BY(mutex_) = 0;  // threads inside a piece
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

// How many threads this process may use: the CPU quota of the root cgroup, as a container sees it,
// if there is a quota, or else the number of CPUs that the process may run on. At least 1.
size_t AvailableCpus();

}  // namespace talweg::server
