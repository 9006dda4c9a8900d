// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/compute_pool.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <utility>

#include "core/base/check.h"
#include "core/base/float_environment.h"

namespace talweg::server {
namespace {

// The pool that this thread belongs to; null on all other threads.
thread_local const ComputePool* current_pool = nullptr;

}  // namespace

ComputePool::ComputePool(size_t num_threads) {
  TALWEG_CHECK(num_threads >= 1);
  threads_.reserve(num_threads);
  for (size_t index = 0; index < num_threads; ++index) {
    threads_.emplace_back([this] { RunThread(); });
  }
}

ComputePool::~ComputePool() {
  timers_.Stop();
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ComputePool::Post(Task task) {
  auto job = std::make_shared<Job>();
  job->piece = [](size_t) {};
  job->done = std::move(task);
  job->num_pieces = 1;
  job->unfinished = 1;
  Enqueue(std::move(job));
}

void ComputePool::RunPieces(size_t num_pieces, Piece piece, Task done) {
  TALWEG_CHECK(num_pieces >= 1);
  if (num_pieces == 1 && current_pool == this) {
    piece(0);
    done();
    return;
  }
  auto job = std::make_shared<Job>();
  job->piece = std::move(piece);
  job->done = std::move(done);
  job->num_pieces = num_pieces;
  job->unfinished = num_pieces;
  Enqueue(std::move(job));
}

void ComputePool::Enqueue(std::shared_ptr<Job> job) {
  const bool many = job->num_pieces > 1;
  {
    MutexLock lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  if (many) {
    work_.notify_all();
  } else {
    work_.notify_one();
  }
}

void ComputePool::RunThread() {
  current_pool = this;
  const core::DefaultFloatEnvironment environment;
  while (true) {
    std::shared_ptr<Job> job;
    size_t index = 0;
    {
      MutexLock lock(mutex_);
      // A busy thread may still post. So the work is over only when no thread is busy and no job
      // waits.
      while (jobs_.empty() && !(stopping_ && busy_ == 0)) mutex_.Wait(work_);
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
      index = job->next_piece++;
      if (job->next_piece < job->num_pieces) jobs_.push_back(job);
      ++busy_;
    }
    job->piece(index);
    if (job->unfinished.fetch_sub(1, std::memory_order_acq_rel) == 1) job->done();
    job.reset();
    bool over = false;
    {
      MutexLock lock(mutex_);
      --busy_;
      over = stopping_ && busy_ == 0 && jobs_.empty();
    }
    if (over) work_.notify_all();
  }
}

size_t AvailableCpus() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  size_t cpus = 1;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    cpus = static_cast<size_t>(std::max(1, CPU_COUNT(&allowed)));
  }
  // cgroup v2: "max 100000" or "150000 100000", microseconds of CPU per period.
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (file >> quota >> period && quota != "max" && period > 0) {
    const double share = std::ceil(std::strtod(quota.c_str(), nullptr) / period);
    cpus = std::min(cpus, static_cast<size_t>(std::max(1.0, share)));
  }
  return cpus;
}

}  // namespace talweg::server
