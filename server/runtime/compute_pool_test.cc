// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/compute_pool.h"

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <functional>
#include <future>
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

using ::testing::ElementsAre;

TEST(ComputePoolTest, EveryPieceRunsOnceAndDoneRunsOnceAfterAllOfThem) {
  constexpr size_t kPieces = 5000;
  std::vector<std::atomic<int>> runs(kPieces);
  std::atomic<size_t> finished{0};
  std::atomic<int> done{0};
  size_t finished_at_done = 0;
  {
    ComputePool pool(4);
    pool.RunPieces(
        kPieces,
        [&](size_t index) {
          ++runs[index];
          ++finished;
        },
        [&] {
          ++done;
          finished_at_done = finished;
        });
  }
  for (size_t index = 0; index < kPieces; ++index) ASSERT_EQ(runs[index], 1) << index;
  EXPECT_EQ(done, 1);
  EXPECT_EQ(finished_at_done, kPieces);
}

TEST(ComputePoolTest, ThreadsKeepDenormalsAndRoundToNearestWhateverTheirMakerDoes) {
  float tiny = 0;
  int rounding = -1;
  std::thread([&] {
    std::fesetround(FE_UPWARD);
#ifdef __SSE__
    _mm_setcsr(_mm_getcsr() | 0x8040);  // flush to zero, denormals are zero
#endif
    ComputePool pool(1);
    pool.Post([&] {
      const volatile float smallest = std::numeric_limits<float>::min();
      const volatile float denormal = smallest / 4;
      tiny = denormal * 2;
      rounding = std::fegetround();
    });
  }).join();
  EXPECT_EQ(tiny, std::numeric_limits<float>::min() / 2);
  EXPECT_EQ(rounding, FE_TONEAREST);
}

TEST(ComputePoolTest, DoneSeesWhatEveryPieceWrote) {
  // Plain memory: the thread sanitizer fails here if pieces and done are not ordered.
  std::vector<int> values(1000, 0);
  long sum = 0;
  {
    ComputePool pool(4);
    pool.RunPieces(
        values.size(), [&](size_t index) { values[index] = static_cast<int>(index); },
        [&] {
          for (const int value : values) sum += value;
        });
  }
  EXPECT_EQ(sum, 499500);
}

TEST(ComputePoolTest, JobsFromManyThreadsAllRunWhole) {
  constexpr size_t kThreads = 8;
  constexpr size_t kJobs = 50;
  std::atomic<size_t> pieces{0};
  std::atomic<size_t> done{0};
  std::atomic<size_t> early{0};
  {
    ComputePool pool(3);
    std::vector<std::thread> posters;
    for (size_t poster = 0; poster < kThreads; ++poster) {
      posters.emplace_back([&] {
        for (size_t job = 1; job <= kJobs; ++job) {
          auto left = std::make_shared<std::atomic<size_t>>(job);
          pool.RunPieces(
              job,
              [&, left](size_t) {
                ++pieces;
                --*left;
              },
              [&, left] {
                if (*left != 0) ++early;
                ++done;
              });
        }
      });
    }
    for (std::thread& poster : posters) poster.join();
  }
  EXPECT_EQ(pieces, kThreads * kJobs * (kJobs + 1) / 2);
  EXPECT_EQ(done, kThreads * kJobs);
  EXPECT_EQ(early, 0u);
}

TEST(ComputePoolTest, PiecesAndDoneMayPostMore) {
  std::atomic<int> posted{0};
  std::atomic<int> chained{0};
  {
    ComputePool pool(2);
    pool.RunPieces(
        10, [&](size_t) { pool.Post([&] { ++posted; }); },
        [&] {
          pool.RunPieces(
              7, [&](size_t) { ++chained; }, [&] { pool.Post([&] { ++chained; }); });
        });
  }
  EXPECT_EQ(posted, 10);
  EXPECT_EQ(chained, 8);
}

TEST(ComputePoolTest, DestructorFinishesWhatIsQueuedAndWhatThatPosts) {
  std::atomic<int> runs{0};
  Gate gate;
  auto pool = std::make_unique<ComputePool>(1);
  ComputePool& borrowed = *pool;
  pool->Post([&] { gate.Wait(); });
  // Each link posts the next, so that at no time more than one of them is queued.
  std::function<void(int)> link = [&](int left) {
    ++runs;
    if (left > 0) borrowed.Post([&link, left] { link(left - 1); });
  };
  pool->Post([&link] { link(100); });
  std::thread destroyer([&] { pool.reset(); });
  EXPECT_EQ(runs, 0);
  gate.Open();
  destroyer.join();
  EXPECT_EQ(runs, 101);
}

TEST(ComputePoolTest, SmallJobFinishesBeforeTheLargeOneThatCameFirst) {
  OrderLog log;
  Gate gate;
  {
    ComputePool pool(1);
    pool.Post([&] { gate.Wait(); });
    pool.RunPieces(
        1000, [](size_t) {}, [&] { log.Add("large"); });
    pool.RunPieces(
        1, [](size_t) {}, [&] { log.Add("small"); });
    gate.Open();
  }
  EXPECT_THAT(log.words(), ElementsAre("small", "large"));
}

TEST(ComputePoolTest, JobsTakeTurnsPieceByPiece) {
  OrderLog log;
  Gate gate;
  {
    ComputePool pool(1);
    pool.Post([&] { gate.Wait(); });
    pool.RunPieces(
        3, [&](size_t index) { log.Add("a" + std::to_string(index)); }, [] {});
    pool.RunPieces(
        2, [&](size_t index) { log.Add("b" + std::to_string(index)); }, [] {});
    gate.Open();
  }
  EXPECT_THAT(log.words(), ElementsAre("a0", "b0", "a1", "b1", "a2"));
}

TEST(ComputePoolTest, SinglePieceRunsInPlaceOnThreadsOfThePoolOnly) {
  OrderLog log;
  {
    ComputePool other(1);  // outlives the pool whose work uses it
    ComputePool pool(1);
    pool.Post([&] {
      pool.RunPieces(
          1, [&](size_t) { log.Add("piece"); }, [&] { log.Add("done"); });
      log.Add("after");
      Gate elsewhere;
      other.RunPieces(
          1,
          [&, self = std::this_thread::get_id()](size_t) {
            log.Add(std::this_thread::get_id() == self ? "stolen" : "other");
          },
          [&] { elsewhere.Open(); });
      elsewhere.Wait();
    });
  }
  EXPECT_THAT(log.words(), ElementsAre("piece", "done", "after", "other"));
}

TEST(ComputePoolTest, PiecesOfOneJobRunAtTheSameTime) {
  // Each piece waits for the other: with fewer than two threads at work this never ends.
  std::promise<void> here[2];
  std::future<void> there[2] = {here[0].get_future(), here[1].get_future()};
  {
    ComputePool pool(2);
    pool.RunPieces(
        2,
        [&](size_t index) {
          here[index].set_value();
          there[1 - index].wait();
        },
        [] {});
  }
  SUCCEED();
}

TEST(ComputePoolTest, CallablesAreDestroyedWithTheJob) {
  auto piece_owned = std::make_shared<int>(1);
  auto done_owned = std::make_shared<int>(2);
  {
    ComputePool pool(2);
    pool.RunPieces(
        10, [piece_owned](size_t) {}, [done_owned] {});
  }
  EXPECT_EQ(piece_owned.use_count(), 1);
  EXPECT_EQ(done_owned.use_count(), 1);
}

TEST(AvailableCpusTest, IsBetweenOneAndWhatTheMachineHas) {
  EXPECT_GE(AvailableCpus(), 1u);
  EXPECT_LE(AvailableCpus(), std::max(1u, std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace talweg::server
