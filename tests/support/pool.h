// SPDX-License-Identifier: Apache-2.0
//
// A small pool for benchmarks and tests: the calling thread and `num_threads - 1` more threads
// share out the indices of one job after the other.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace talweg::testing {

// Only one thread may call Run.
class Pool {
 public:
  explicit Pool(size_t num_threads) {
    for (size_t i = 1; i < num_threads; ++i) threads_.emplace_back([this] { Work(); });
  }
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  size_t num_threads() const { return threads_.size() + 1; }

  // Calls `job(index)` once for each index in [0, num_indices), on any thread; returns when all are
  // done.
  void Run(size_t num_indices, std::function<void(size_t)> job) {
    {
      const std::lock_guard lock(mutex_);
      job_ = std::move(job);
      num_indices_ = num_indices;
      next_ = 0;
      busy_ = threads_.size();
      ++round_;
    }
    wake_.notify_all();
    TakeIndices();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void TakeIndices() {
    for (size_t index = next_++; index < num_indices_; index = next_++) job_(index);
  }

  void Work() {
    uint64_t seen = 0;
    while (true) {
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stopping_ || round_ != seen; });
        if (stopping_) return;
        seen = round_;
      }
      TakeIndices();
      const std::lock_guard lock(mutex_);
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::function<void(size_t)> job_;
  size_t num_indices_ = 0;
  std::atomic<size_t> next_{0};
  size_t busy_ = 0;
  uint64_t round_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace talweg::testing
