// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/env.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::ElementsAre;

TEST(RunWorkTest, StagesRunInOrderEachWithAllItsPieces) {
  ComputePool pool(3);
  PoolEnv env(pool);
  OrderLog log;
  std::atomic<size_t> pieces{0};
  auto work = std::make_shared<core::Work>();
  const auto add = [&](const std::string& name, size_t num_pieces) {
    work->Add(
        {[num_pieces] { return num_pieces; }, [&](size_t) { ++pieces; },
         [&log, name] { log.Add("begin " + name); },
         [&log, &pieces, name] { log.Add("end " + name + " after " + std::to_string(pieces)); }});
  };
  add("many", 100);
  add("none", 0);
  add("one", 1);
  Gate done;
  std::weak_ptr<core::Work> watched = work;
  RunWork(env, std::move(work), [&] { done.Open(); });
  done.Wait();
  EXPECT_THAT(log.words(), ElementsAre("begin many", "end many after 100", "begin none",
                                       "end none after 100", "begin one", "end one after 101"));
}

TEST(RunWorkTest, WorkWithoutStagesIsOverAtOnce) {
  ComputePool pool(1);
  PoolEnv env(pool);
  bool over = false;
  RunWork(env, std::make_shared<core::Work>(), [&] { over = true; });
  EXPECT_TRUE(over);
}

// A larger history is rounded by a client that keeps its numbers as float64 (JavaScript), and would
// come back as another one.
TEST(PoolEnvTest, AHistoryIsRandomNotZeroAndBelowTwoToThe53) {
  ComputePool pool(1);
  PoolEnv env(pool);
  std::set<uint64_t> histories;
  uint64_t ever_set = 0;
  uint64_t always_set = ~uint64_t{0};
  for (int i = 0; i < 1000; ++i) {
    const uint64_t history = env.NewHistory();
    EXPECT_NE(history, 0u);
    EXPECT_EQ(static_cast<uint64_t>(static_cast<double>(history)), history);
    ever_set |= history;
    always_set &= history;
    histories.insert(history);
  }
  EXPECT_EQ(histories.size(), 1000u);
  EXPECT_EQ(ever_set, (uint64_t{1} << 53) - 1) << "all 53 bits are drawn";
  EXPECT_EQ(always_set, 0u);
}

TEST(PoolEnvTest, NothingIsKeptSoThatEverythingIsToldAtOnce) {
  ComputePool pool(1);
  PoolEnv env(pool);
  const SessionIdentity identity;
  core::SessionConfig config = TestConfig(1);
  const core::Session session(config, 1, std::make_shared<core::Parameters>(1));
  const core::Event event = core::Tick{};
  core::Effects effects;
  effects.durable.push_back(core::ConfigurationAccepted{2});
  bool kept = false;
  env.Keep({identity, session, &event, nullptr, effects, nullptr, absl::UnixEpoch()},
           [&] { kept = true; });
  EXPECT_TRUE(kept);
}

}  // namespace
}  // namespace talweg::server
