// SPDX-License-Identifier: Apache-2.0
//
// Operations that run one after the other, on any threads of their owner: what a session, or a
// stream, does is never done by two threads at the same time.
//
// After each operation the queue goes to the back of the pool's line, so a long queue costs every
// other owner one operation per turn. When no operation is left, the queue asks its owner what else
// there is to do, and sleeps once there is nothing.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// Thread-safe.
class OperationQueue {
 public:
  using Task = absl::AnyInvocable<void()>;
  // An operation calls `finished` once, when it is over, on any thread and perhaps much later.
  // Until then no other operation begins.
  using Operation = absl::AnyInvocable<void(Task finished)>;

  struct Owner {
    // Runs a task later, on a thread that may compute.
    std::function<void(Task)> post;
    // Keeps the owner of the queue alive as long as the returned pointer lives; null if the owner
    // is gone.
    std::function<std::shared_ptr<void>()> hold;
    // Called between two operations, under no lock, when no operation is waiting: returns the next
    // one, or null if there is nothing to do. May be empty.
    std::function<Operation()> when_empty = {};
  };

  // A queue that is born busy runs nothing before its first Finished.
  explicit OperationQueue(Owner owner, bool busy = false)
      : owner_(std::move(owner)), running_(busy) {}

  // Adds an operation at the back.
  void Add(Operation operation);
  // Asks `when_empty` again, although no operation was added.
  void Wake();
  // Ends the operation under way; for the owner of a queue that was born busy.
  void Finished();
  // Drops the operations that have not begun. An operation that is under way goes on.
  void Clear();

 private:
  void PostRun();
  void RunOne();
  // Ends the turn if there is nothing to do; else goes to the back of the pool's line.
  void Sleep();

  const Owner owner_;
  Mutex mutex_;
  std::deque<Operation> waiting_ ABSL_GUARDED_BY(mutex_);
  bool running_ ABSL_GUARDED_BY(mutex_);
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;  // since `when_empty` was asked last
};

}  // namespace talweg::server
