// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/session_charge.h"

#include <memory>

#include "core/base/reasons.h"
#include "core/session/session_testing.h"
#include "gtest/gtest.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

constexpr uint64_t kElements = 100;
const absl::Time kNow = absl::UnixEpoch();

core::SessionConfig Grouped(core::SessionConfig config) {
  config.groups.push_back({"*", {}});
  EXPECT_TRUE(config.Resolve().ok());
  return config;
}

// A session of one worker, in which two contributions make a version.
class SessionChargeTest : public testing::Test {
 protected:
  SessionChargeTest() : config_(TestConfig(kElements)) {
    core::AggregationConfig aggregation;
    aggregation.gradient_accumulation_steps = 2;
    config_.aggregation = core::ConfigOf(aggregation);
    session_ =
        std::make_unique<core::Session>(config_, 1, std::make_shared<core::Parameters>(kElements));
    charge_ = std::make_unique<SessionCharge>(*budget_.Reserve(config_.MemoryBytes()));
    EXPECT_TRUE(session_->Handle(core::Join{"w", 1}, kNow).effects.status.ok());
  }

  void Contribute(uint64_t sequence) {
    core::ContributionInput input{core::Contribution{1, "w", 1, sequence}};
    input.contribution.ticket = sequence;
    input.gradient = std::make_shared<core::StagedGradient>(kElements);
    input.gradient->Begin(session_->config().group_map);
    input.gradient->Measure({0, kElements});
    const core::Contributed done = core::ContributeAndRun(*session_, std::move(input), kNow);
    EXPECT_TRUE(done.judged.status.ok()) << done.judged.status;
    if (done.ended.step.has_value()) charge_->VersionWasMade(*session_);
  }

  MemoryBudget budget_{uint64_t{64} << 20};
  core::SessionConfig config_;
  std::unique_ptr<core::Session> session_;
  std::unique_ptr<SessionCharge> charge_;
};

TEST_F(SessionChargeTest, ChangeIsChargedAtOnceAndGivenBackWithTheNext) {
  const core::SessionConfig larger = Grouped(config_);
  ASSERT_GT(larger.MemoryBytes(), config_.MemoryBytes());
  ASSERT_TRUE(charge_->Change(*session_, 0, larger, kNow).effects.status.ok());
  EXPECT_EQ(charge_->bytes(), larger.MemoryBytes());
  ASSERT_TRUE(charge_->Change(*session_, 0, config_, kNow).effects.status.ok());
  EXPECT_EQ(charge_->bytes(), config_.MemoryBytes());
  EXPECT_EQ(budget_.used(), config_.MemoryBytes());
}

TEST_F(SessionChargeTest, WhileAChangeWaitsTheLargerOfBothIsCharged) {
  const core::SessionConfig larger = Grouped(config_);
  ASSERT_TRUE(charge_->Change(*session_, 0, larger, kNow).effects.status.ok());
  Contribute(1);
  ASSERT_TRUE(charge_->Change(*session_, 0, config_, kNow).effects.status.ok());
  EXPECT_EQ(charge_->bytes(), larger.MemoryBytes());  // the open round goes on with it
  Contribute(2);
  EXPECT_EQ(charge_->bytes(), config_.MemoryBytes());
}

TEST_F(SessionChargeTest, ChangeThatFindsNoMemoryOrIsRefusedChargesNothing) {
  const uint64_t before = charge_->bytes();
  const core::SessionConfig larger = Grouped(config_);
  MemoryBudget::Reservation rest = *budget_.Reserve(budget_.limit() - budget_.used());
  EXPECT_EQ(core::ReasonName(charge_->Change(*session_, 0, larger, kNow).effects.status),
            "MEMORY_QUOTA");
  EXPECT_EQ(charge_->bytes(), before);
  EXPECT_EQ(session_->config_version(), 1u);
  rest = MemoryBudget::Reservation();
  EXPECT_EQ(core::ReasonName(charge_->Change(*session_, 2, larger, kNow).effects.status),
            "HISTORY_CHANGED");
  EXPECT_EQ(charge_->bytes(), before);
  EXPECT_EQ(budget_.used(), before);
}

TEST_F(SessionChargeTest, RoundThatTakesMoreIsChargedByItself) {
  const uint64_t before = budget_.used();
  EXPECT_TRUE(charge_->ChargeRound(0).ok());
  EXPECT_EQ(budget_.used(), before);
  EXPECT_TRUE(charge_->ChargeRound(1000).ok());
  EXPECT_EQ(budget_.used(), before + 1000);
  EXPECT_EQ(core::ReasonName(charge_->ChargeRound(budget_.limit())), "MEMORY_QUOTA");
  EXPECT_EQ(budget_.used(), before + 1000);
  EXPECT_TRUE(charge_->ChargeRound(0).ok());
  EXPECT_EQ(budget_.used(), before);
}

TEST(SessionChargeWithoutBudgetTest, NothingIsEverRefused) {
  SessionCharge charge{MemoryBudget::Reservation()};
  EXPECT_EQ(charge.budget(), nullptr);
  EXPECT_TRUE(charge.ChargeRound(uint64_t{1} << 60).ok());
}

}  // namespace
}  // namespace talweg::server
