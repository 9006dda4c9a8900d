// SPDX-License-Identifier: Apache-2.0
//
// A worker of the C++ client that computes for longer than its lease.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cpp/talweg/client.h"
#include "gtest/gtest.h"
#include "tests/conformance/served_test.h"

namespace talweg {
namespace {

using testing::ServedTest;
using testing::VectorSession;

constexpr absl::Duration kGradientTakes = absl::Seconds(3);  // three leases

class SlowWorkerTest : public ServedTest {
 protected:
  void SetUp() override {
    ServedTest::SetUp();
    v1::CreateSessionRequest create = VectorSession("s", 3);
    v1::AggregationPolicy& policy = *create.mutable_config()->mutable_aggregation();
    policy.set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
    policy.set_lease_seconds(1);
    policy.set_min_workers(2);
    ASSERT_TRUE(wire_->Create(create).ok());
  }
  Client Connect(bool heartbeats) const {
    ClientOptions options;
    options.heartbeats = heartbeats;
    return Client::Connect(server_->address(), options).value();
  }
};

// The library needs no call of the worker's for that: its thread computes.
TEST_F(SlowWorkerTest, HeartbeatsKeepAWorkerThatComputesForLongerThanItsLease) {
  const Client client = Connect(true);
  Session slow = client.Join("s", "slow").value();
  Session quick = client.Join("s", "quick").value();
  std::thread others([&] {
    std::vector<float> parameters(3);
    for (int round = 0; round < 2; ++round) {
      const auto result = quick.Step({1, 1, 1}, absl::MakeSpan(parameters));
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(result->report->contributors(), 2u);
      EXPECT_EQ(result->report->num_late(), 0u);
    }
  });
  std::vector<float> parameters(3);
  for (uint64_t round = 1; round <= 2; ++round) {
    absl::SleepFor(kGradientTakes);
    const auto result = slow.Step({3, 3, 3}, absl::MakeSpan(parameters));
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(result->applied());
    EXPECT_EQ(result->applied_version, round);
  }
  others.join();
  EXPECT_EQ(parameters, std::vector<float>(3, -2));  // two steps of rate 0.5 along the mean, 2
}

TEST_F(SlowWorkerTest, WithoutHeartbeatsItsRoundClosesWithoutIt) {
  const Client client = Connect(false);
  Session slow = client.Join("s", "slow").value();
  Session quick = client.Join("s", "quick").value();
  const auto alone = quick.Step({1, 1, 1}, {});
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_EQ(alone->report->contributors(), 1u);
  const auto late = slow.Step({3, 3, 3}, {});
  ASSERT_TRUE(late.ok()) << late.status();
  EXPECT_EQ(late->verdict, v1::VERDICT_ROUND_CLOSED);
}

}  // namespace
}  // namespace talweg
