// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/session_factory.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/test_session.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::Each;
using Made = absl::StatusOr<SessionFactory::Made>;

constexpr uint64_t kElements = 10;

class SessionFactoryTest : public testing::Test {
 protected:
  static SessionIdentity Identity(const std::string& id, const std::string& request = "r") {
    return {id, request, 7, kHistory, absl::UnixEpoch()};
  }

  Made Create(const SessionIdentity& identity) {
    Reply<Made> made;
    pool_.Post([this, identity, done = made.Callback()]() mutable {
      factory_.Create(identity, TestConfig(kElements),
                      core::EncodedVector{core::Dtype::kFloat32, BytesOf(values_)},
                      std::move(done));
    });
    return made.Get();
  }

  std::vector<float> values_ = std::vector<float>(kElements, 0.5f);
  SessionTable table_{2};
  MemoryBudget memory_{3 * TestConfig(kElements).MemoryBytes()};
  ComputePool pool_{2};
  Env& env_ = EnvOf(pool_);
  SessionFactory factory_{table_, memory_, env_};
};

TEST_F(SessionFactoryTest, NewSessionIsInTheTableWithItsFirstVersion) {
  const Made made = Create(Identity("a"));
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_TRUE(made->is_new);
  EXPECT_EQ(*table_.Find("a"), made->host);
  EXPECT_EQ(memory_.used(), TestConfig(kElements).MemoryBytes());
  ReadReply read;
  made->host->Read(core::Session::Point::kParameters, read.Callback());
  EXPECT_THAT(read.Get()->values->values.span(), Each(0.5f));
}

TEST_F(SessionFactoryTest, SameRequestGetsTheSameSessionAndAnotherIsRefused) {
  const Made first = Create(Identity("a"));
  const Made again = Create(Identity("a"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(again->is_new);
  EXPECT_EQ(again->host, first->host);
  EXPECT_EQ(core::ReasonName(Create(Identity("a", "other")).status()), "SESSION_EXISTS");
  EXPECT_EQ(memory_.used(), TestConfig(kElements).MemoryBytes());
}

TEST_F(SessionFactoryTest, WithoutMemoryOrPlaceThereIsNoSession) {
  ASSERT_TRUE(Create(Identity("a")).ok());
  EXPECT_TRUE(factory_.DryRun(Identity("b"), TestConfig(kElements)).ok());
  EXPECT_EQ(
      core::ReasonName(factory_.DryRun(Identity("b"), TestConfig(1000000 * kElements)).status()),
      "MEMORY_QUOTA");
  MemoryBudget::Reservation rest = *memory_.Reserve(memory_.limit() - memory_.used());
  EXPECT_EQ(core::ReasonName(Create(Identity("b")).status()), "MEMORY_QUOTA");
  rest = MemoryBudget::Reservation();
  ASSERT_TRUE(Create(Identity("b")).ok());
  EXPECT_EQ(core::ReasonName(Create(Identity("c")).status()), "TOO_MANY_SESSIONS");
  EXPECT_EQ(memory_.used(), 2 * TestConfig(kElements).MemoryBytes());
}

TEST_F(SessionFactoryTest, DryRunTellsWhatASessionWouldBeAndMakesNone) {
  const auto told = factory_.DryRun(factory_.NewIdentity("a", "r", 7), TestConfig(kElements));
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(told->identity.session_id, "a");
  EXPECT_EQ(told->identity.history, 0u);
  EXPECT_EQ(told->config_version, 1u);
  EXPECT_EQ(told->memory_bytes, TestConfig(kElements).MemoryBytes());
  EXPECT_FALSE(table_.Find("a").ok());
  EXPECT_EQ(memory_.used(), 0u);
}

TEST_F(SessionFactoryTest, EveryIdentityHasAHistoryOfItsOwn) {
  const SessionIdentity first = factory_.NewIdentity("a", "r", 7);
  const SessionIdentity second = factory_.NewIdentity("a", "r", 7);
  EXPECT_NE(first.history, 0u);
  EXPECT_NE(first.history, second.history);
}

TEST_F(SessionFactoryTest, SavedSessionGoesOnUnderItsId) {
  const Made made = Create(Identity("a"));
  ASSERT_TRUE(made.ok());
  JoinReply joined;
  made->host->Join(
      {"w"}, [] { return 1; }, joined.Callback());
  ASSERT_TRUE(joined.Get().ok());
  Reply<absl::StatusOr<std::string>> saved;
  made->host->Save(saved.Callback());
  ASSERT_TRUE(saved.Get().ok());
  ASSERT_TRUE(table_.Delete(*table_.Find("a"), 0).ok());
  auto loaded = core::Session::Load(*saved.Get(), env_.MonotonicNow(), /*history=*/99);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const auto restored = factory_.Restore(Identity("a"), *std::move(loaded));
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(*table_.Find("a"), *restored);
  EXPECT_EQ((*restored)->identity().history, 99u);
  EXPECT_EQ((*restored)->CheckHistory(kHistory).ok(), false);
  DescribeReply described;
  (*restored)->Describe({}, described.Callback());
  EXPECT_EQ(described.Get()->num_workers, 1u);
  ReadReply read;
  (*restored)->Read(core::Session::Point::kParameters, read.Callback());
  EXPECT_THAT(read.Get()->values->values.span(), Each(0.5f));
}

}  // namespace
}  // namespace talweg::server
