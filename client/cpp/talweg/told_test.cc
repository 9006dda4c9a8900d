// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/told.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace talweg {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(ToldTest, DurationsAreRoundedForAPerson) {
  EXPECT_EQ(DurationText(absl::Nanoseconds(9999998618)), "10 s");
  EXPECT_EQ(DurationText(absl::Milliseconds(10)), "10 ms");
  EXPECT_EQ(DurationText(absl::Nanoseconds(999999999)), "1 s");
  EXPECT_EQ(DurationText(absl::Milliseconds(1500)), "1.5 s");
  EXPECT_EQ(DurationText(absl::Milliseconds(9960)), "10 s");
  EXPECT_EQ(DurationText(absl::Milliseconds(12345)), "12 s");
  EXPECT_EQ(DurationText(absl::Seconds(90)), "90 s");
  EXPECT_EQ(DurationText(absl::Milliseconds(299999)), "5 min");
  EXPECT_EQ(DurationText(absl::Hours(3)), "3 h");
  EXPECT_EQ(DurationText(absl::ZeroDuration()), "0 ms");
  EXPECT_EQ(DurationText(absl::InfiniteDuration()), "ever");
  EXPECT_THAT(std::string(NothingMoved(absl::Nanoseconds(9999998618)).message()),
              StartsWith("nothing moved for 10 s: "));
}

TEST(ToldTest, WhatGrpcSaysOfAConnectionBecomesASentence) {
  EXPECT_EQ(ConnectionText("keepalive watchdog timeout"),
            "the server does not answer pings any more: it stands still, or the way to it is cut; "
            "see whether it runs (gRPC: keepalive watchdog timeout)");
  EXPECT_THAT(ConnectionText("failed to connect to all addresses; last error: UNKNOWN: "
                             "ipv4:127.0.0.1:1: Failed to connect to remote host: Connection "
                             "refused"),
              StartsWith("nothing listens at this address: start a talweg-server there"));
  EXPECT_THAT(ConnectionText("failed to connect to all addresses"),
              StartsWith("no connection to the server can be made"));
  EXPECT_THAT(ConnectionText("Socket closed"), StartsWith("the connection to the server broke"));
  EXPECT_THAT(ConnectionText("DNS resolution failed for nowhere:1: C-ares status"),
              HasSubstr("spelled right (gRPC: DNS resolution failed for nowhere:1"));
  EXPECT_EQ(ConnectionText("the moon is full"), "the moon is full");
  EXPECT_EQ(ConnectionText(""), "");
}

}  // namespace
}  // namespace talweg
