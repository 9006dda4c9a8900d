// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/expectations.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;

const absl::Time kNow = absl::UnixEpoch() + absl::Hours(1);

class ExpectationsTest : public ::testing::Test {
 protected:
  // Live gradient workers, of which some froze the round.
  ExpectationsTest() {
    for (const char* name : {"a", "b", "c"}) Insert(name);
  }
  void Insert(const std::string& name) { workers_[workers_.Insert(name)].live = true; }
  Worker& Of(const std::string& name) { return workers_[workers_.Find(name)]; }
  void Freeze() { expectations_.Freeze(round_, workers_, workers_.size(), kNow); }

  Workers workers_;
  OpenRound round_;
  Expectations expectations_;
};

TEST_F(ExpectationsTest, NobodyIsExpectedBeforeTheFreeze) {
  EXPECT_FALSE(expectations_.Expects(Of("a")));
  EXPECT_EQ(expectations_.OwesSince(Of("a")), absl::InfiniteFuture());
  Freeze();
  EXPECT_TRUE(expectations_.Expects(Of("a")));
  EXPECT_EQ(expectations_.OwesSince(Of("a")), kNow);
  EXPECT_EQ(expectations_.outstanding(), 3u);
}

TEST_F(ExpectationsTest, AContributionBeforeTheFreezeIsNotExpectedAgain) {
  expectations_.Contributed(Of("a"), 1);
  Contribution contribution;
  contribution.worker = "a";
  round_.Add(workers_.Find("a"), contribution, 1, 0, Reduction::kMean, kNow);
  Freeze();
  EXPECT_FALSE(expectations_.Expects(Of("a")));
  EXPECT_EQ(expectations_.outstanding(), 2u);
}

TEST_F(ExpectationsTest, AWorkerThatStandsByIsNotExpected) {
  Of("b").incarnation = 4;
  round_.AddBystander(workers_.Find("b"), workers_);
  Freeze();
  EXPECT_FALSE(expectations_.Expects(Of("b")));
  EXPECT_EQ(expectations_.outstanding(), 2u);
}

TEST_F(ExpectationsTest, AWorkerThatComesAfterTheFreezeIsNotExpected) {
  Freeze();
  Insert("d");
  expectations_.Exclude(Of("d"));
  EXPECT_FALSE(expectations_.Expects(Of("d")));
  EXPECT_EQ(expectations_.outstanding(), 3u);
  EXPECT_EQ(expectations_.Late(workers_).count, 0u);
}

TEST_F(ExpectationsTest, LateIsWhoIsReleasedWithoutAContribution) {
  Freeze();
  expectations_.Contributed(Of("a"), 1);
  expectations_.Gone(Of("a"), /*expired=*/false);
  expectations_.Gone(Of("b"), /*expired=*/false);
  expectations_.Release(Of("c"));  // it stands by
  EXPECT_EQ(expectations_.outstanding(), 0u);
  EXPECT_THAT(expectations_.Late(workers_).names, ElementsAre("b"));
}

TEST_F(ExpectationsTest, AStalledWorkerIsExpectedInNoRoundBeforeItContributes) {
  Freeze();
  expectations_.Stall(Of("b"));
  EXPECT_EQ(expectations_.num_stalled(), 1u);
  EXPECT_THAT(expectations_.Late(workers_).names, ElementsAre("b"));
  expectations_.BeginNextRound();
  EXPECT_EQ(expectations_.Late(workers_).count, 0u);
  Freeze();
  EXPECT_EQ(expectations_.outstanding(), 2u);
  expectations_.Resume(Of("b"));
  EXPECT_FALSE(expectations_.Expects(Of("b")));  // this round froze without it
  expectations_.BeginNextRound();
  Freeze();
  EXPECT_TRUE(expectations_.Expects(Of("b")));
}

TEST_F(ExpectationsTest, APartIsOfOneRound) {
  expectations_.Contributed(Of("a"), 1);
  EXPECT_TRUE(expectations_.HasContributed(Of("a")));
  EXPECT_TRUE(expectations_.IsFirstOutdated(Of("b")));
  EXPECT_FALSE(expectations_.IsFirstOutdated(Of("b")));
  expectations_.BeginNextRound();
  EXPECT_FALSE(expectations_.HasContributed(Of("a")));
  EXPECT_TRUE(expectations_.IsFirstOutdated(Of("b")));
}

TEST(WorkerListTest, NamesAreToldOnceAndInOrder) {
  const WorkerList list = ListOf({"b", "a", "b"});
  EXPECT_EQ(list.count, 2u);
  EXPECT_THAT(list.names, ElementsAre("a", "b"));
}

}  // namespace
}  // namespace talweg::core
