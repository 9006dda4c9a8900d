// SPDX-License-Identifier: Apache-2.0
#include "server/ops/drain_gate.h"

#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

TEST(DrainGateTest, OpenUntilClosedThenRefusesForGood) {
  DrainGate gate;
  EXPECT_TRUE(gate.Check().ok());
  EXPECT_TRUE(gate.Check().ok());
  gate.Close();
  for (int call = 0; call < 2; ++call) {
    EXPECT_EQ(gate.Check().code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(core::ReasonName(gate.Check()), "DRAINING");
  }
}

}  // namespace
}  // namespace talweg::server
