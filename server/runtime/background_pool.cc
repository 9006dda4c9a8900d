// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/background_pool.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <future>
#include <numeric>
#include <optional>
#include <queue>
#include <utility>

#include "core/base/check.h"
#include "core/base/float_environment.h"

namespace talweg::server {
namespace {

// Lowers the priority of the calling thread as far as it goes. Returns whether that is the
// operating system's idle priority.
bool LowerPriority() {
  const sched_param no_priority = {};
  if (sched_setscheduler(0, SCHED_IDLE, &no_priority) == 0) return true;
  // On Linux this changes the calling thread alone, not its process. If it fails there is nothing
  // left to try.
  setpriority(PRIO_PROCESS, 0, 19);
  return false;
}

}  // namespace

struct BackgroundPool::JobState {
  explicit JobState(Job job)
      : tasks(std::move(job.tasks)), done(std::move(job.done)), num_unfinished(tasks.size()) {
    for (const Task& task : tasks) TALWEG_CHECK(std::isfinite(task.cost));
    std::stable_sort(tasks.begin(), tasks.end(),
                     [](const Task& a, const Task& b) { return a.cost > b.cost; });
    std::vector<size_t> positions(tasks.size());
    std::iota(positions.begin(), positions.end(), size_t{0});
    waiting = decltype(waiting)({}, std::move(positions));
  }

  std::vector<Task> tasks;  // longest first
  absl::AnyInvocable<void(bool)> done;

  // Guarded by the pool's mutex until the job is over.
  uint64_t number = 0;
  // Positions of the tasks that wait for a thread. The longest task is on top.
  std::priority_queue<size_t, std::vector<size_t>, std::greater<>> waiting;
  size_t num_unfinished;   // tasks that have pieces left or running
  size_t num_running = 0;  // pieces
  bool is_cancelled = false;
};

struct BackgroundPool::Turn {
  std::shared_ptr<JobState> job;
  std::optional<size_t> task;  // position of the task whose next piece runs; none: call `done`
};

BackgroundPool::BackgroundPool(size_t num_threads) {
  TALWEG_CHECK(num_threads >= 1);
  threads_.reserve(num_threads);
  for (size_t index = 0; index < num_threads; ++index) {
    std::promise<bool> lowered;
    std::future<bool> is_idle = lowered.get_future();
    threads_.emplace_back([this, lowered = std::move(lowered)]() mutable {
      lowered.set_value(LowerPriority());
      RunThread();
    });
    is_idle_priority_ = is_idle.get() && is_idle_priority_;
  }
}

BackgroundPool::~BackgroundPool() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (const auto& [number, job] : open_) Drop(job);
    open_.clear();
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

uint64_t BackgroundPool::Post(Job job) {
  auto state = std::make_shared<JobState>(std::move(job));
  uint64_t number = 0;
  {
    MutexLock lock(mutex_);
    number = ++last_number_;
    state->number = number;
    if (stopping_) {
      Drop(state);
    } else if (state->tasks.empty()) {
      over_.push_back(std::move(state));
    } else {
      line_.push_back(state);
      open_.emplace(number, std::move(state));
    }
  }
  work_.notify_all();
  return number;
}

bool BackgroundPool::Cancel(uint64_t number) {
  // No thread need be woken: the one that was to run the job's next piece calls `done` instead.
  MutexLock lock(mutex_);
  const auto found = open_.find(number);
  if (found == open_.end()) return false;
  Drop(found->second);
  open_.erase(found);
  return true;
}

void BackgroundPool::Drop(const std::shared_ptr<JobState>& job) {
  job->is_cancelled = true;
  if (!job->waiting.empty()) std::erase(line_, job);
  if (job->num_running == 0) over_.push_back(job);
}

bool BackgroundPool::HasTurns() const { return !over_.empty() || !line_.empty(); }

BackgroundPool::Turn BackgroundPool::NextTurn() {
  Turn turn;
  if (!over_.empty()) {
    turn.job = std::move(over_.front());
    over_.pop_front();
    return turn;
  }
  turn.job = std::move(line_.front());
  line_.pop_front();
  turn.task = turn.job->waiting.top();
  turn.job->waiting.pop();
  ++turn.job->num_running;
  if (!turn.job->waiting.empty()) line_.push_back(turn.job);
  return turn;
}

bool BackgroundPool::EndPiece(const Turn& turn, bool has_more) {
  JobState& job = *turn.job;
  --job.num_running;
  if (job.is_cancelled) return job.num_running == 0;
  if (has_more) {
    if (job.waiting.empty()) line_.push_back(turn.job);
    job.waiting.push(*turn.task);
    return false;
  }
  if (--job.num_unfinished > 0) return false;
  open_.erase(job.number);
  return true;
}

void BackgroundPool::RunThread() {
  const core::DefaultFloatEnvironment environment;
  while (true) {
    Turn turn;
    {
      MutexLock lock(mutex_);
      // A busy thread may still post, also while the pool stops.
      while (!HasTurns() && !(stopping_ && num_busy_ == 0)) mutex_.Wait(work_);
      if (!HasTurns()) return;
      turn = NextTurn();
      ++num_busy_;
    }
    bool is_over = true;
    if (turn.task.has_value()) {
      Task& task = turn.job->tasks[*turn.task];
      const bool has_more = task.advance();
      if (!has_more) task.advance = nullptr;  // its memory is needed no longer
      MutexLock lock(mutex_);
      is_over = EndPiece(turn, has_more);
    }
    if (is_over) {
      turn.job->tasks.clear();
      turn.job->done(!turn.job->is_cancelled);
    }
    turn.job.reset();
    bool stopped = false;
    {
      MutexLock lock(mutex_);
      --num_busy_;
      stopped = stopping_ && num_busy_ == 0 && !HasTurns();
    }
    if (stopped) work_.notify_all();
  }
}

}  // namespace talweg::server
