// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/background_pool.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include <atomic>
#include <cerrno>
#include <cfenv>
#include <cstddef>
#include <functional>
#include <future>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

using Task = BackgroundPool::Task;
using Job = BackgroundPool::Job;

// A task of `num_pieces` pieces (>= 1), which calls piece(0), piece(1) and so on.
Task TaskOf(double cost, int num_pieces, std::function<void(int)> piece) {
  return {cost, [=, next = 0]() mutable {
            piece(next);
            return ++next < num_pieces;
          }};
}

// A task of one piece.
Task Once(std::function<void()> piece) {
  return TaskOf(1, 1, [piece = std::move(piece)](int) { piece(); });
}

// A task that ends only if it is cancelled.
Task Endless() {
  return {1, [] { return true; }};
}

template <class Done>
Job JobOf(Done done, Task task) {
  Job job;
  job.tasks.push_back(std::move(task));
  job.done = std::move(done);
  return job;
}

template <class Done>
Job JobOf(Done done, Task first, Task second) {
  Job job = JobOf(std::move(done), std::move(first));
  job.tasks.push_back(std::move(second));
  return job;
}

// For jobs whose end is of no interest.
void Nothing(bool) {}

// A callback that logs the name of its job and how the job ended.
auto LogEnd(OrderLog& log, const std::string& name) {
  return
      [&log, name](bool completed) { log.Add(name + (completed ? " completed" : " cancelled")); };
}

// Runs a job of one piece, and returns when it is done: all threads but one may be busy meanwhile.
void RunOne(BackgroundPool& pool) {
  const auto done = std::make_shared<Gate>();  // the thread may still be inside Open afterwards
  pool.Post(JobOf([done](bool) { done->Open(); }, Once([] {})));
  done->Wait();
}

TEST(BackgroundPoolTest, PiecesOfATaskRunInOrderAndSeeWhatTheOnesBeforeWrote) {
  // Plain memory: the thread sanitizer fails here if pieces and done are not ordered.
  constexpr int kTasks = 7;
  constexpr int kPieces = 300;
  std::vector<std::vector<int>> seen(kTasks);
  size_t num_seen = 0;
  Gate done;
  BackgroundPool pool(4);
  Job job;
  for (int task = 0; task < kTasks; ++task) {
    job.tasks.push_back(
        TaskOf(task, kPieces, [&seen, task](int piece) { seen[task].push_back(piece); }));
  }
  job.done = [&](bool completed) {
    EXPECT_TRUE(completed);
    for (const std::vector<int>& pieces : seen) num_seen += pieces.size();
    done.Open();
  };
  pool.Post(std::move(job));
  done.Wait();
  EXPECT_EQ(num_seen, size_t{kTasks} * kPieces);
  for (const std::vector<int>& pieces : seen) {
    for (int piece = 0; piece < kPieces; ++piece) ASSERT_EQ(pieces[piece], piece);
  }
}

TEST(BackgroundPoolTest, PiecesOfATaskNeverRunAtTheSameTime) {
  OrderLog log;
  std::atomic<int> begun{0};
  Gate done;
  BackgroundPool pool(2);
  // While the first piece runs, the other thread runs whole jobs, and would take the second piece
  // if it could.
  pool.Post(JobOf([&](bool) { done.Open(); }, Task{1, [&] {
                                                     const bool is_first = ++begun == 1;
                                                     if (is_first) RunOne(pool);
                                                     if (is_first) RunOne(pool);
                                                     log.Add(is_first ? "first ends" : "second");
                                                     return is_first;
                                                   }}));
  done.Wait();
  EXPECT_THAT(log.words(), ElementsAre("first ends", "second"));
}

TEST(BackgroundPoolTest, TasksOfOneJobRunAtTheSameTime) {
  // Each task waits for the other: with fewer than two threads at work this never ends.
  Gate here, there, done;
  BackgroundPool pool(2);
  pool.Post(JobOf([&](bool) { done.Open(); },  //
                  Once([&] {
                    here.Open();
                    there.Wait();
                  }),
                  Once([&] {
                    there.Open();
                    here.Wait();
                  })));
  done.Wait();
}

TEST(BackgroundPoolTest, LongestTaskGoesFirstUpToItsLastPiece) {
  OrderLog log;
  Gate done;
  BackgroundPool pool(1);
  Job job;
  for (const double cost : {1., 8., 2., 8.}) {
    const std::string name = std::to_string(static_cast<int>(cost)) + "abcd"[job.tasks.size()];
    job.tasks.push_back(TaskOf(cost, 2, [&log, name](int) { log.Add(name); }));
  }
  job.done = [&](bool) { done.Open(); };
  pool.Post(std::move(job));
  done.Wait();
  EXPECT_THAT(log.words(), ElementsAre("8b", "8b", "8d", "8d", "2c", "2c", "1a", "1a"));
}

TEST(BackgroundPoolTest, JobsTakeTurnsPieceByPiece) {
  OrderLog log;
  Gate gate, done;
  BackgroundPool pool(1);
  pool.Post(JobOf(Nothing, Once([&] { gate.Wait(); })));
  const auto logged = [&](const char* name) {
    return [&log, name](int piece) { log.Add(name + std::to_string(piece)); };
  };
  pool.Post(JobOf([&](bool) { done.Open(); },  //
                  TaskOf(1, 2, logged("small")), TaskOf(9, 3, logged("large"))));
  pool.Post(JobOf(LogEnd(log, "other"), TaskOf(5, 2, logged("other"))));
  gate.Open();
  done.Wait();
  EXPECT_THAT(log.words(), ElementsAre("large0", "other0", "large1", "other1", "other completed",
                                       "large2", "small0", "small1"));
}

TEST(BackgroundPoolTest, JobThatIsCancelledBeforeItBeginsRunsNoPiece) {
  OrderLog log;
  Gate gate, done;
  BackgroundPool pool(1);
  pool.Post(JobOf(LogEnd(log, "running"), TaskOf(1, 2, [&](int) { gate.Wait(); })));
  const uint64_t number =
      pool.Post(JobOf(LogEnd(log, "dropped"), Once([&] { log.Add("dropped runs"); })));
  pool.Post(JobOf([&](bool) { done.Open(); }, Once([&] { log.Add("next runs"); })));
  EXPECT_TRUE(pool.Cancel(number));
  EXPECT_FALSE(pool.Cancel(number));
  EXPECT_THAT(log.words(), ElementsAre());  // no `done` inside Cancel
  gate.Open();
  done.Wait();
  RunOne(pool);
  EXPECT_THAT(log.words(), ElementsAre("dropped cancelled", "next runs", "running completed"));
}

TEST(BackgroundPoolTest, JobThatIsCancelledWhilePiecesRunEndsAfterTheLastOfThem) {
  OrderLog log;
  Gate first_runs, second_runs, first, second, done;
  BackgroundPool pool(2);
  const uint64_t number = pool.Post(JobOf(
      [&](bool completed) {
        log.Add(completed ? "completed" : "cancelled");
        done.Open();
      },
      TaskOf(2, 2,
             [&](int piece) {
               log.Add("first " + std::to_string(piece));
               first_runs.Open();
               first.Wait();
             }),
      TaskOf(1, 2, [&](int piece) {
        first_runs.Wait();
        log.Add("second " + std::to_string(piece));
        second_runs.Open();
        second.Wait();
      })));
  second_runs.Wait();
  EXPECT_TRUE(pool.Cancel(number));
  EXPECT_FALSE(pool.Cancel(number));
  first.Open();
  RunOne(pool);  // on the thread that ran the first task
  log.Add("first has ended");
  second.Open();
  done.Wait();
  RunOne(pool);
  EXPECT_THAT(log.words(), ElementsAre("first 0", "second 0", "first has ended", "cancelled"));
}

TEST(BackgroundPoolTest, JobThatIsCancelledInItsLastPieceIsNotCompleted) {
  uint64_t number = 0;
  std::promise<bool> completed;
  Gate posted;
  BackgroundPool pool(1);
  number = pool.Post(JobOf([&](bool value) { completed.set_value(value); }, Once([&] {
                             posted.Wait();
                             EXPECT_TRUE(pool.Cancel(number));
                           })));
  posted.Open();
  EXPECT_FALSE(completed.get_future().get());
}

TEST(BackgroundPoolTest, JobThatIsOverCannotBeCancelled) {
  uint64_t number = 0;
  std::promise<bool> cancelled;
  Gate posted;
  BackgroundPool pool(1);
  number = pool.Post(JobOf(
      [&](bool completed) {
        EXPECT_TRUE(completed);
        cancelled.set_value(pool.Cancel(number));
      },
      Once([&] { posted.Wait(); })));
  posted.Open();
  EXPECT_FALSE(cancelled.get_future().get());
  EXPECT_FALSE(pool.Cancel(number));
  EXPECT_FALSE(pool.Cancel(0));
  EXPECT_FALSE(pool.Cancel(number + 1));
}

TEST(BackgroundPoolTest, JobWithoutTasksIsCompleted) {
  std::promise<bool> completed;
  BackgroundPool pool(1);
  Job job;
  job.done = [&](bool value) { completed.set_value(value); };
  pool.Post(std::move(job));
  EXPECT_TRUE(completed.get_future().get());
}

TEST(BackgroundPoolTest, DoneRunsOnceAndTellsWhatCancelTold) {
  constexpr size_t kThreads = 4;
  constexpr size_t kJobs = 200;
  struct Record {
    std::atomic<int> pieces{0};
    std::atomic<int> completed{0};
    std::atomic<int> cancelled{0};
    bool told_cancelled = false;
  };
  std::vector<Record> records(kThreads * kJobs);
  {
    BackgroundPool pool(3);
    std::vector<std::thread> posters;
    for (size_t poster = 0; poster < kThreads; ++poster) {
      posters.emplace_back([&, poster] {
        for (size_t index = 0; index < kJobs; ++index) {
          Record& record = records[poster * kJobs + index];
          const auto count = [&record](int) { ++record.pieces; };
          const uint64_t number = pool.Post(
              JobOf([&](bool completed) { ++(completed ? record.completed : record.cancelled); },
                    TaskOf(1, 3, count), TaskOf(2, 2, count)));
          if (index % 3 == 1) std::this_thread::yield();
          if (index % 3 != 0) record.told_cancelled = pool.Cancel(number);
        }
      });
    }
    for (std::thread& poster : posters) poster.join();
    // Jobs that nobody cancels run to their end before the pool goes.
    for (const Record& record : records) {
      while (record.completed + record.cancelled == 0) std::this_thread::yield();
    }
  }
  for (const Record& record : records) {
    ASSERT_EQ(record.cancelled, record.told_cancelled ? 1 : 0);
    ASSERT_EQ(record.completed, record.told_cancelled ? 0 : 1);
    if (!record.told_cancelled) {
      ASSERT_EQ(record.pieces, 5);
    }
  }
}

TEST(BackgroundPoolTest, DestructorCancelsWhatIsLeftAndWhatThatPosts) {
  OrderLog log;
  Gate runs, gate;
  std::atomic<int> pieces{0};
  auto pool = std::make_unique<BackgroundPool>(2);
  BackgroundPool& borrowed = *pool;
  pool->Post(JobOf(LogEnd(log, "running"), TaskOf(1, 100, [&](int) {
                     ++pieces;
                     runs.Open();
                     gate.Wait();
                   })));
  runs.Wait();
  // Only the destructor ends the endless job, and only then the gate opens.
  pool->Post(JobOf(
      [&](bool completed) {
        log.Add(completed ? "endless completed" : "endless cancelled");
        borrowed.Post(JobOf(
            [&](bool also_completed) {
              log.Add(also_completed ? "late completed" : "late cancelled");
              gate.Open();
            },
            Once([&] { log.Add("late runs"); })));
      },
      Endless()));
  pool.reset();
  EXPECT_EQ(pieces, 1);
  EXPECT_THAT(log.words(), ElementsAre("endless cancelled", "late cancelled", "running cancelled"));
}

TEST(BackgroundPoolTest, TasksAreDestroyedBeforeDoneAndDoneBeforeThePool) {
  auto owned_by_task = std::make_shared<int>(1);
  auto owned_by_done = std::make_shared<int>(2);
  std::vector<long> uses;
  {
    Gate gate, done;
    BackgroundPool pool(1);
    pool.Post(JobOf(Nothing, Once([&] { gate.Wait(); })));
    const auto record = [&, owned_by_done](bool) { uses.push_back(owned_by_task.use_count()); };
    pool.Post(JobOf(record, Once([owned_by_task] {})));
    pool.Cancel(pool.Post(JobOf(record, Once([owned_by_task] {}))));
    pool.Post(JobOf([&](bool) { done.Open(); }, Once([] {})));
    EXPECT_EQ(owned_by_task.use_count(), 3);
    gate.Open();
    done.Wait();
  }
  EXPECT_THAT(uses, ElementsAre(2, 1));  // the cancelled job ends first
  EXPECT_EQ(owned_by_done.use_count(), 1);
}

// The scheduling policy and the nice value of the calling thread.
std::pair<int, int> Priority() { return {sched_getscheduler(0), getpriority(PRIO_PROCESS, 0)}; }

// The same of each of two threads of a new pool.
std::vector<std::pair<int, int>> PrioritiesInPool(bool& is_idle_priority) {
  std::vector<std::pair<int, int>> priorities(2);
  Gate here, there, done;
  BackgroundPool pool(2);
  is_idle_priority = pool.is_idle_priority();
  pool.Post(JobOf([&](bool) { done.Open(); },  //
                  Once([&] {
                    here.Open();
                    there.Wait();
                    priorities[0] = Priority();
                  }),
                  Once([&] {
                    there.Open();
                    here.Wait();
                    priorities[1] = Priority();
                  })));
  done.Wait();
  return priorities;
}

TEST(BackgroundPoolTest, EveryThreadRunsAtIdlePriorityIfThePoolSaysSo) {
  const std::pair<int, int> own = Priority();
  bool is_idle_priority = false;
  const auto priorities = PrioritiesInPool(is_idle_priority);
  for (const auto& [policy, nice] : priorities) EXPECT_EQ(policy == SCHED_IDLE, is_idle_priority);
  EXPECT_EQ(Priority(), own);
}

// From now on the calling thread, and the threads that it makes, may not change their scheduling
// policy. Returns false if the kernel has no such filters.
bool ForbidSchedulingPolicies() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_setscheduler, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {std::size(filter), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST(BackgroundPoolTest, ThreadsHaveTheLowestNiceValueIfIdlePriorityIsRefused) {
  bool forbidden = false;
  bool is_idle_priority = true;
  std::vector<std::pair<int, int>> priorities;
  std::pair<int, int> own, expected;
  std::thread([&] {
    forbidden = ForbidSchedulingPolicies();
    if (!forbidden) return;
    own = Priority();
    priorities = PrioritiesInPool(is_idle_priority);
    expected = Priority();
  }).join();
  if (!forbidden) GTEST_SKIP() << "no system call can be made to fail here";
  EXPECT_FALSE(is_idle_priority);
  EXPECT_THAT(priorities, Each(std::pair(own.first, 19)));
  EXPECT_EQ(own, expected);
}

TEST(BackgroundPoolTest, ThreadsKeepDenormalsAndRoundToNearestWhateverTheirMakerDoes) {
  float tiny = 0;
  int rounding = -1;
  std::thread([&] {
    std::fesetround(FE_UPWARD);
#ifdef __SSE__
    _mm_setcsr(_mm_getcsr() | 0x8040);  // flush to zero, denormals are zero
#endif
    BackgroundPool pool(1);
    Gate done;
    pool.Post(JobOf([&](bool) { done.Open(); }, Once([&] {
                      const volatile float smallest = std::numeric_limits<float>::min();
                      const volatile float denormal = smallest / 4;
                      tiny = denormal * 2;
                      rounding = std::fegetround();
                    })));
    done.Wait();
  }).join();
  EXPECT_EQ(tiny, std::numeric_limits<float>::min() / 2);
  EXPECT_EQ(rounding, FE_TONEAREST);
}

}  // namespace
}  // namespace talweg::server
