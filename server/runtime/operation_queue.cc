// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/operation_queue.h"

namespace talweg::server {

void OperationQueue::Add(Operation operation) {
  {
    MutexLock lock(mutex_);
    waiting_.push_back(std::move(operation));
    if (running_) return;
    running_ = true;
  }
  PostRun();
}

void OperationQueue::Wake() {
  {
    MutexLock lock(mutex_);
    woken_ = true;
    if (running_) return;
    running_ = true;
  }
  PostRun();
}

void OperationQueue::Clear() {
  std::deque<Operation> dropped;  // goes after the lock: an operation may hold memory that has one
  MutexLock lock(mutex_);
  dropped.swap(waiting_);
  woken_ = true;  // `when_empty` was not asked while these were waiting
}

void OperationQueue::PostRun() {
  owner_.post([this, held = owner_.hold()] { RunOne(); });
}

void OperationQueue::RunOne() {
  Operation operation;
  {
    MutexLock lock(mutex_);
    woken_ = false;
    if (!waiting_.empty()) {
      operation = std::move(waiting_.front());
      waiting_.pop_front();
    }
  }
  if (operation == nullptr && owner_.when_empty) operation = owner_.when_empty();
  if (operation == nullptr) return Sleep();
  operation([this, held = owner_.hold()] { Finished(); });
}

void OperationQueue::Finished() {
  bool is_empty = false;
  {
    MutexLock lock(mutex_);
    is_empty = waiting_.empty();
  }
  // Asked under no lock, so that the owner may look at its own state.
  Operation next;
  if (is_empty && owner_.when_empty) next = owner_.when_empty();
  if (next == nullptr) return Sleep();
  {
    MutexLock lock(mutex_);
    waiting_.push_front(std::move(next));
  }
  PostRun();
}

void OperationQueue::Sleep() {
  {
    MutexLock lock(mutex_);
    if (waiting_.empty() && !woken_) {
      running_ = false;
      return;
    }
  }
  PostRun();
}

}  // namespace talweg::server
