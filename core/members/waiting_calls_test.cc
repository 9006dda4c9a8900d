// SPDX-License-Identifier: Apache-2.0
#include "core/members/waiting_calls.h"

#include <vector>

#include "core/base/reasons.h"
#include "core/members/identity.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr absl::Time kStart = absl::UnixEpoch();
const absl::Time kLater = kStart + absl::Seconds(30);

class WaitingCallsTest : public ::testing::Test {
 protected:
  WaitingCallsTest() { member_.lease_end = kStart; }

  WaitingCalls calls_;
  Member member_;
  std::vector<Released> released_;
};

TEST_F(WaitingCallsTest, EachIsAnsweredOnce) {
  calls_.Add(member_, {1, /*repeats=*/false});
  calls_.Add(member_, {2, /*repeats=*/true});
  EXPECT_EQ(calls_.size(), 2u);
  Answer answer;
  answer.applied_version = 5;
  calls_.AnswerAll(member_, answer, kLater, released_);
  calls_.AnswerAll(member_, answer, kLater, released_);
  ASSERT_EQ(released_.size(), 2u);
  EXPECT_EQ(released_[0].ticket, 1u);
  EXPECT_EQ(released_[0].answer.applied_version, 5u);
  EXPECT_FALSE(released_[0].answer.replayed);
  EXPECT_EQ(released_[1].ticket, 2u);
  EXPECT_TRUE(released_[1].answer.replayed);
  EXPECT_EQ(calls_.size(), 0u);
}

TEST_F(WaitingCallsTest, AnAnswerRenewsTheLeaseButNeverShortensIt) {
  calls_.AnswerAll(member_, Answer{}, kLater, released_);
  EXPECT_EQ(member_.lease_end, kStart);  // nothing waited
  calls_.Add(member_, {1});
  calls_.AnswerAll(member_, Answer{}, kLater, released_);
  EXPECT_EQ(member_.lease_end, kLater);
  calls_.Add(member_, {2});
  calls_.AnswerAll(member_, Answer{}, kStart, released_);
  EXPECT_EQ(member_.lease_end, kLater);
}

TEST_F(WaitingCallsTest, OnlyImpatientOnesAreToldThatItTakesLonger) {
  calls_.Add(member_, {1, false, /*may_wait=*/true});
  calls_.Add(member_, {2, true, /*may_wait=*/false});
  calls_.Add(member_, {3, false, /*may_wait=*/true});
  calls_.AnswerImpatient(member_, Answer{}, kLater, released_);
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_[0].ticket, 2u);
  EXPECT_TRUE(released_[0].answer.replayed);
  EXPECT_EQ(member_.lease_end, kLater);
  ASSERT_EQ(member_.calls.size(), 2u);
  EXPECT_EQ(member_.calls[0].ticket, 1u);
  EXPECT_EQ(member_.calls[1].ticket, 3u);
  EXPECT_EQ(calls_.size(), 2u);
}

TEST_F(WaitingCallsTest, AllFailWhenTheirMemberGoes) {
  calls_.Add(member_, {1});
  calls_.Add(member_, {2});
  calls_.FailAll(member_, LeftError("a"), released_);
  ASSERT_EQ(released_.size(), 2u);
  for (const Released& released : released_) {
    EXPECT_EQ(ReasonName(released.status), "WORKER_NOT_JOINED");
  }
  EXPECT_EQ(calls_.size(), 0u);
  EXPECT_EQ(member_.lease_end, kStart);
}

TEST_F(WaitingCallsTest, ACallWhoseConnectionBrokeIsForgotten) {
  calls_.Add(member_, {1});
  calls_.Add(member_, {2});
  calls_.Forget(member_, 7, kLater);  // waits no longer
  EXPECT_EQ(calls_.size(), 2u);
  EXPECT_EQ(member_.lease_end, kStart);
  calls_.Forget(member_, 1, kLater);
  EXPECT_EQ(member_.lease_end, kLater);
  calls_.AnswerAll(member_, Answer{}, kLater, released_);
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_[0].ticket, 2u);
}

}  // namespace
}  // namespace talweg::core
