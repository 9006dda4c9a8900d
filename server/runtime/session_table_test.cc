// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/session_table.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

class SessionTableTest : public ::testing::Test {
 protected:
  // A host that has had no call.
  std::shared_ptr<SessionHost> Host(const std::string& session_id, uint64_t history = 1,
                                    const std::string& request_id = "request",
                                    uint32_t request_digest = 5) {
    return std::make_shared<SessionHost>(
        SessionIdentity{session_id, request_id, request_digest, history, absl::UnixEpoch()},
        TestConfig(4), MemoryBudget::Reservation(), EnvOf(pool_));
  }

  static std::vector<std::string> Ids(const std::vector<std::shared_ptr<SessionHost>>& hosts) {
    std::vector<std::string> ids;
    for (const auto& host : hosts) ids.push_back(host->identity().session_id);
    return ids;
  }

  ComputePool pool_{1};
  SessionTable table_{3};
};

TEST_F(SessionTableTest, FindsWhatWasInserted) {
  const auto host = Host("a");
  ASSERT_TRUE(table_.Insert(host).ok());
  EXPECT_EQ(*table_.Find("a"), host);
  EXPECT_EQ(core::ReasonName(table_.Find("b").status()), "SESSION_NOT_FOUND");
  EXPECT_EQ(core::ReasonName(table_.Find("").status()), "SESSION_NOT_FOUND");
}

TEST_F(SessionTableTest, IdIsTakenOnce) {
  const auto first = Host("a", 1);
  ASSERT_TRUE(table_.Insert(first).ok());
  EXPECT_EQ(core::ReasonName(table_.Insert(Host("a", 2))), "SESSION_EXISTS");
  EXPECT_EQ(*table_.Find("a"), first);
}

TEST_F(SessionTableTest, DrainReachesEverySession) {
  std::vector<absl::Status> told;
  for (const char* id : {"a", "b", "c"}) {
    const auto host = Host(id);
    host->versions().Await(1, [&](absl::Status status) { told.push_back(std::move(status)); });
    ASSERT_TRUE(table_.Insert(host).ok());
  }
  table_.Drain(absl::UnavailableError("stopping"));
  EXPECT_THAT(told, testing::ElementsAre(absl::UnavailableError("stopping"),
                                         absl::UnavailableError("stopping"),
                                         absl::UnavailableError("stopping")));
}

TEST_F(SessionTableTest, HoldsAsManySessionsAsItMay) {
  for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(table_.Insert(Host(id)).ok());
  const absl::Status refused = table_.Insert(Host("d"));
  EXPECT_EQ(core::ReasonName(refused), "TOO_MANY_SESSIONS");
  EXPECT_EQ(core::ReasonName(table_.Insert(Host("a"))), "SESSION_EXISTS");
  ASSERT_TRUE(table_.Delete(*table_.Find("b"), 0).ok());
  EXPECT_TRUE(table_.Insert(Host("d")).ok());
}

TEST_F(SessionTableTest, SameRequestFindsItsSession) {
  EXPECT_EQ(*table_.FindSameRequest(Host("a")->identity()), nullptr);
  const auto made = Host("a", 1);
  ASSERT_TRUE(table_.Insert(made).ok());
  // The history is minted anew by each attempt: it does not count.
  EXPECT_EQ(*table_.FindSameRequest(Host("a", 2)->identity()), made);
}

TEST_F(SessionTableTest, OtherRequestUnderTheSameIdIsRefused) {
  ASSERT_TRUE(table_.Insert(Host("a")).ok());
  const auto reason = [&](const std::shared_ptr<SessionHost>& host) {
    return core::ReasonName(table_.FindSameRequest(host->identity()).status());
  };
  EXPECT_EQ(reason(Host("a", 1, "another")), "SESSION_EXISTS");
  EXPECT_EQ(reason(Host("a", 1, "request", 6)), "SESSION_EXISTS");
}

TEST_F(SessionTableTest, RequestWithoutAnIdIsNeverTheSame) {
  ASSERT_TRUE(table_.Insert(Host("a", 1, "")).ok());
  EXPECT_EQ(core::ReasonName(table_.FindSameRequest(Host("a", 1, "")->identity()).status()),
            "SESSION_EXISTS");
}

TEST_F(SessionTableTest, DeleteTakesOutAndEndsTheHost) {
  const auto host = Host("a", 9);
  ASSERT_TRUE(table_.Insert(host).ok());
  EXPECT_FALSE(host->deleted());
  ASSERT_TRUE(table_.Delete(*table_.Find("a"), 9).ok());
  EXPECT_TRUE(host->deleted());
  EXPECT_FALSE(table_.Find("a").ok());
  EXPECT_EQ(core::ReasonName(table_.Delete(host, 9)), "SESSION_NOT_FOUND");
}

TEST_F(SessionTableTest, DeleteLeavesAnotherSessionThatHasTheIdByNow) {
  const auto first = Host("a", 9);
  ASSERT_TRUE(table_.Insert(first).ok());
  ASSERT_TRUE(table_.Delete(first, 0).ok());
  const auto second = Host("a", 10);
  ASSERT_TRUE(table_.Insert(second).ok());
  EXPECT_EQ(core::ReasonName(table_.Delete(first, 0)), "SESSION_NOT_FOUND");
  EXPECT_FALSE(second->deleted());
  EXPECT_EQ(*table_.Find("a"), second);
}

TEST_F(SessionTableTest, DeleteOfAnotherHistoryNamesTheCurrentOneAndLeavesTheSession) {
  const auto host = Host("a", 9);
  ASSERT_TRUE(table_.Insert(host).ok());
  const absl::Status refused = table_.Delete(*table_.Find("a"), 8);
  EXPECT_EQ(core::ReasonName(refused), "HISTORY_CHANGED");
  EXPECT_THAT(core::MetadataOf(refused), Contains(Pair("history", "9")));
  EXPECT_FALSE(host->deleted());
  EXPECT_TRUE(table_.Find("a").ok());
}

TEST_F(SessionTableTest, DeleteWithoutAHistoryMeansTheCurrentOne) {
  ASSERT_TRUE(table_.Insert(Host("a", 9)).ok());
  EXPECT_TRUE(table_.Delete(*table_.Find("a"), 0).ok());
}

TEST_F(SessionTableTest, ListsPagesInTheOrderOfIds) {
  for (const char* id : {"c", "a", "b"}) ASSERT_TRUE(table_.Insert(Host(id)).ok());
  EXPECT_THAT(Ids(table_.List("", 2)), ElementsAre("a", "b"));
  EXPECT_THAT(Ids(table_.List("b", 2)), ElementsAre("c"));
  EXPECT_THAT(Ids(table_.List("c", 2)), IsEmpty());
  // A page begins after the last session of the page before, even if that session is gone.
  ASSERT_TRUE(table_.Delete(*table_.Find("b"), 0).ok());
  EXPECT_THAT(Ids(table_.List("b", 2)), ElementsAre("c"));
}

TEST_F(SessionTableTest, OfManyThatInsertOneIdExactlyOneSucceeds) {
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> inserted{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&] {
        if (table_.Insert(Host("a")).ok()) ++inserted;
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(inserted, 1);
    ASSERT_TRUE(table_.Delete(*table_.Find("a"), 0).ok());
  }
}

TEST_F(SessionTableTest, IncarnationsGrowWhoeverAsks) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      uint64_t last = 0;
      for (int count = 0; count < 1000; ++count) {
        const uint64_t next = table_.incarnations().Issue();
        EXPECT_GT(next, last);
        last = next;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(table_.incarnations().Issue(), 4001u);
}

}  // namespace
}  // namespace talweg::server
