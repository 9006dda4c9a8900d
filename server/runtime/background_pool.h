// SPDX-License-Identifier: Apache-2.0
//
// Threads of lower priority, for jobs that no call waits for (the inverses of K-FAC's factors).
// They use the time that the server's other threads leave over. A job consists of tasks, and a task
// of pieces. A thread that has run a piece looks for what is next, so a thread is never bound to a
// job for longer than one piece.
//
// Jobs take turns piece by piece, so that the large job of one session does not hold up the small
// job of another session. Within a job the task of the highest cost goes first, up to its last
// piece, so that the largest task does not end up alone at the end while the other threads are
// idle.
//
// The operating system may interrupt a thread of low priority at any instruction, also while it
// holds a lock, and may leave it so for some time if all CPUs are busy. A piece should therefore
// take no lock that other threads need, and `done` should take such locks only for a moment.
//
// The threads keep denormals and round to nearest, whatever the thread that made them does.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// Thread-safe. All functions may also be called from pieces and from `done`.
class BackgroundPool {
 public:
  // Pieces that run one after the other, each on any thread of the pool. A piece sees what the
  // pieces before it wrote.
  struct Task {
    double cost = 0;  // of all pieces together, in flops; finite; only compared within the job
    // Runs the next piece. Returns whether there is another one.
    absl::AnyInvocable<bool()> advance;
  };

  // Tasks that may run at the same time.
  struct Job {
    std::vector<Task> tasks;
    // Called exactly once, when no piece of the job is running or will run, on a thread of the pool
    // and under no lock. `completed` tells whether all pieces ran; it is false if the job was
    // cancelled. All tasks have been destroyed by then, and `done` sees what the pieces wrote.
    absl::AnyInvocable<void(bool completed)> done;
  };

  // Starts the threads, and returns once they have lowered their priority. `num_threads` >= 1.
  explicit BackgroundPool(size_t num_threads);
  // Cancels all jobs, and joins the threads when every `done` has returned. A job that a piece or a
  // `done` posts meanwhile is cancelled before it begins. Must not be called on a thread of the
  // pool.
  ~BackgroundPool();
  BackgroundPool(const BackgroundPool&) = delete;
  BackgroundPool& operator=(const BackgroundPool&) = delete;

  // Puts the job at the back of the line. A job without tasks is completed at once. Returns the
  // number of the job, for Cancel; never 0. `done` may be called before this function returns.
  uint64_t Post(Job job);

  // Drops all pieces of the job that have not begun. Never waits: pieces that are running run to
  // their end, and `done` follows on a thread of the pool, before that thread runs another piece.
  // If no piece is running, the next free thread calls `done`. Returns true if `done` will be told
  // that the job was cancelled, and false if the job is over, was cancelled before, or never was.
  bool Cancel(uint64_t number);

  size_t num_threads() const { return threads_.size(); }

  // Whether the threads have the operating system's idle priority (Linux: SCHED_IDLE), so that they
  // get next to nothing of a CPU that other threads want. If that was refused, they have the lowest
  // nice value, 19, or, if that was refused too, the priority of the thread that made them.
  bool is_idle_priority() const { return is_idle_priority_; }

 private:
  struct JobState;
  // What a thread does next: it runs one piece, or calls `done` of a job that is over.
  struct Turn;

  Turn NextTurn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns whether the job is over, so that the caller must call its `done`.
  bool EndPiece(const Turn& turn, bool has_more) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The job has been, or is about to be, taken out of `open_`.
  void Drop(const std::shared_ptr<JobState>& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasTurns() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RunThread();

  Mutex mutex_;
  std::condition_variable work_;
  // The jobs that can be cancelled, by number.
  std::map<uint64_t, std::shared_ptr<JobState>> open_ ABSL_GUARDED_BY(mutex_);
  // The open jobs that have a task which waits for a thread, in the order of their turns.
  std::deque<std::shared_ptr<JobState>> line_ ABSL_GUARDED_BY(mutex_);
  // The jobs that are over and whose `done` waits for a thread.
  std::deque<std::shared_ptr<JobState>> over_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_number_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t num_busy_ ABSL_GUARDED_BY(mutex_) = 0;  // threads inside a turn
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_idle_priority_ = true;
  std::vector<std::thread> threads_;
};

}  // namespace talweg::server
