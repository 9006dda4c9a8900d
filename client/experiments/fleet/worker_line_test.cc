// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/fleet/worker_line.h"

#include <gtest/gtest.h>

namespace talweg {
namespace {

TEST(WorkerLineTest, IsReadAsItWasWritten) {
  const WorkerStep step = {v1::VERDICT_ROUND_CLOSED, 17, 0.4321, 0.0102, 0.0034};
  EXPECT_EQ(FormatWorkerStep(step), "step ROUND_CLOSED 17 0.4321 0.010200 0.003400");
  const auto read = ParseWorkerStep(FormatWorkerStep(step));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->verdict, v1::VERDICT_ROUND_CLOSED);
  EXPECT_EQ(read->version, 17u);
  EXPECT_EQ(read->loss, 0.4321);
  EXPECT_EQ(read->compute_seconds, 0.0102);
  EXPECT_EQ(read->wait_seconds, 0.0034);
}

TEST(WorkerLineTest, WhatElseIsSaidIsNoStep) {
  for (const char* line : {"", "talweg: UNAVAILABLE: no server", "step", "step APPLIED 1 0.5 0.1",
                           "step APPLIED 1 0.5 0.1 0.2 0.3", "step NOTHING 1 0.5 0.1 0.2",
                           "step APPLIED x 0.5 0.1 0.2", "stop APPLIED 1 0.5 0.1 0.2"}) {
    EXPECT_FALSE(ParseWorkerStep(line).has_value()) << line;
  }
}

TEST(WorkerLineTest, TallySortsByVerdict) {
  WorkerTally tally;
  for (const v1::Verdict verdict :
       {v1::VERDICT_APPLIED, v1::VERDICT_APPLIED, v1::VERDICT_ROUND_CLOSED, v1::VERDICT_TOO_STALE,
        v1::VERDICT_REJECTED_NON_FINITE}) {
    tally.Add(WorkerStep{verdict, 3, 0.5, 0.25, 0.5});
  }
  EXPECT_EQ(tally.applied, 2u);
  EXPECT_EQ(tally.late, 1u);
  EXPECT_EQ(tally.refused, 2u);
  EXPECT_EQ(tally.contributions(), 5u);
  EXPECT_EQ(tally.compute_seconds, 1.25);
  EXPECT_EQ(tally.wait_seconds, 2.5);
  WorkerTally all;
  all.Add(tally);
  all.Add(tally);
  EXPECT_EQ(all.contributions(), 10u);
  EXPECT_EQ(all.wait_seconds, 5);
}

}  // namespace
}  // namespace talweg
