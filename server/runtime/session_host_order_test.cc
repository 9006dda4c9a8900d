// SPDX-License-Identifier: Apache-2.0
//
// The order in which a host does things: decide, keep, compute, keep, make visible, answer.
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/session_host.h"
#include "server/runtime/test_disk.h"
#include "server/runtime/test_session.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class SessionHostOrderTest : public testing::Test {
 protected:
  SessionHostOrderTest() {
    host_ = std::make_shared<SessionHost>(
        SessionIdentity{"session", "request", 0, kHistory, absl::UnixEpoch()}, TestConfig(4),
        MemoryBudget::Reservation(), disk_);
    StatusReply created;
    pool_.Post([&] {
      host_->Create(core::EncodedVector{core::Dtype::kFloat32, BytesOf(zeros_)},
                    created.Callback());
    });
    EXPECT_TRUE(created.Get().ok());
  }
  ~SessionHostOrderTest() override { Settle(); }

  // Returns when everything that was posted has run: the pool has one thread.
  void Settle() {
    for (int turn = 0; turn < 20; ++turn) {
      Gate done;
      pool_.Post([&done] { done.Open(); });
      done.Wait();
    }
  }
  void FinishWrite() {
    disk_.FinishWrite();
    Settle();
  }

  JoinReply Join() {
    JoinReply joined;
    host_->Join(
        {"w"}, [] { return 1; }, joined.Callback());
    Settle();
    return joined;
  }
  StepReply Step(uint64_t sequence, bool finite = true) {
    StepInput input;
    input.contribution.history = kHistory;
    input.contribution.worker = "w";
    input.contribution.incarnation = 1;
    input.contribution.sequence = sequence;
    input.gradient = {core::Dtype::kFloat32, BytesOf(finite ? ones_ : nans_)};
    StepReply stepped;
    host_->Step(std::move(input), stepped.Callback());
    Settle();
    return stepped;
  }
  uint64_t VisibleVersion() {
    ReadReply read;
    host_->Read(core::Session::Point::kParameters, read.Callback());
    return read.Get()->values->version;
  }

  const std::vector<float> zeros_ = std::vector<float>(4, 0.0f);
  const std::vector<float> ones_ = std::vector<float>(4, 1.0f);
  const std::vector<float> nans_ = std::vector<float>(4, std::nanf(""));
  ComputePool pool_{1};
  SlowDisk disk_{pool_};
  std::shared_ptr<SessionHost> host_;
};

TEST_F(SessionHostOrderTest, WorkerIsToldOfItsIncarnationWhenThatIsKept) {
  const JoinReply joined = Join();
  EXPECT_THAT(disk_.Writing(), ElementsAre("join admitted"));
  EXPECT_FALSE(joined.Ready());
  FinishWrite();
  ASSERT_TRUE(joined.Ready());
  EXPECT_EQ(joined.Get()->incarnation, 1u);
}

TEST_F(SessionHostOrderTest, VersionIsVisibleAndAnsweredOnlyWhenItIsKept) {
  Join();
  FinishWrite();
  const StepReply stepped = Step(1);
  EXPECT_THAT(disk_.Writing(), ElementsAre("contribution"));
  FinishWrite();  // and then the step is taken
  EXPECT_THAT(disk_.Writing(), ElementsAre("step made"));
  EXPECT_FALSE(stepped.Ready());
  EXPECT_EQ(VisibleVersion(), 0u);
  EXPECT_EQ(host_->feed()->newest_version(), 0u);
  EXPECT_THAT(host_->records().After(0, 9, 9).records, IsEmpty());
  FinishWrite();
  ASSERT_TRUE(stepped.Ready());
  EXPECT_EQ(stepped.Get()->answer.applied_version, 1u);
  EXPECT_EQ(VisibleVersion(), 1u);
  EXPECT_EQ(host_->feed()->newest_version(), 1u);
  EXPECT_EQ(host_->records().After(0, 9, 9).records.size(), 1u);
}

TEST_F(SessionHostOrderTest, RefusalIsToldOnlyWhenItIsKept) {
  Join();
  FinishWrite();
  const StepReply refused = Step(1, /*finite=*/false);
  EXPECT_THAT(disk_.Writing(), ElementsAre("contribution refused"));
  EXPECT_FALSE(refused.Ready());
  FinishWrite();
  ASSERT_TRUE(refused.Ready());
  EXPECT_EQ(refused.Get()->answer.verdict, core::Verdict::kRejectedNonFinite);
}

TEST_F(SessionHostOrderTest, NothingOvertakesWhatIsBeingKept) {
  const JoinReply joined = Join();
  const StepReply stepped = Step(1);
  EXPECT_THAT(disk_.Writing(), ElementsAre("join admitted"));
  FinishWrite();
  EXPECT_TRUE(joined.Ready());
  EXPECT_THAT(disk_.Writing(), ElementsAre("contribution"));
  FinishWrite();
  FinishWrite();
  EXPECT_TRUE(stepped.Ready());
}

TEST_F(SessionHostOrderTest, ChangeOfTheRateIsVisibleOnlyWhenItIsKept) {
  const auto next_rate = [&] {
    ReadReply read;
    host_->Read(core::Session::Point::kParameters, read.Callback());
    return read.Get()->next_learning_rate;
  };
  const double before = next_rate();
  DescribeReply changed;
  host_->Reconfigure(
      0,
      [](const core::SessionConfig&) -> absl::StatusOr<core::SessionConfig> {
        return TestConfig(4, 0.125);
      },
      changed.Callback());
  Settle();
  EXPECT_THAT(disk_.Writing(), ElementsAre("configure configured"));
  EXPECT_FALSE(changed.Ready());
  EXPECT_EQ(next_rate(), before);
  FinishWrite();
  ASSERT_TRUE(changed.Ready());
  EXPECT_EQ(next_rate(), 0.125);
}

TEST_F(SessionHostOrderTest, ChangeWithoutADifferenceIsNoDecision) {
  DescribeReply changed;
  host_->Reconfigure(
      0,
      [](const core::SessionConfig& current) -> absl::StatusOr<core::SessionConfig> {
        return current;
      },
      changed.Callback());
  Settle();
  EXPECT_THAT(disk_.Writing(), IsEmpty());
  ASSERT_TRUE(changed.Ready());
  EXPECT_EQ(changed.Get()->config_version, 1u);
}

TEST_F(SessionHostOrderTest, AnErrorIsADecisionThatNeedsNoDisk) {
  const StepReply stranger = Step(1);
  EXPECT_THAT(disk_.Writing(), ElementsAre("contribution"));
  FinishWrite();
  ASSERT_TRUE(stranger.Ready());
  EXPECT_EQ(core::ReasonName(stranger.Get().status()), "WORKER_NOT_JOINED");
}

}  // namespace
}  // namespace talweg::server
