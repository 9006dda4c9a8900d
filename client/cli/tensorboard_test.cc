// SPDX-License-Identifier: Apache-2.0
//
// tests/install/series_test.py reads such a file with a reader of its own.
#include "client/cli/tensorboard.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"

namespace talweg {
namespace {

// What TensorFlow's own writer begins a file with, for wall_time 1700000000.25.
TEST(TensorBoardTest, BeginsAsEveryEventFile) {
  v1::StepRecord record;
  record.mutable_time()->set_seconds(1'700'000'000);
  record.mutable_time()->set_nanos(250'000'000);
  const std::string file = TensorBoardEvents({record});
  EXPECT_EQ(absl::BytesToHexString(file.substr(0, 12)), "1800000000000000a37f4b22");
  EXPECT_EQ(file.substr(21, 15), "\x1a\rbrain.Event:2");
}

TEST(TensorBoardTest, ARunWithoutStepsIsAFileWithoutValues) {
  EXPECT_EQ(TensorBoardEvents({}).size(), 12u + 24 + 4);
}

TEST(TensorBoardTest, NameIsOneThatTensorBoardReads) {
  EXPECT_EQ(TensorBoardFileName("mlp"), "events.out.tfevents.0000000000.mlp");
}

}  // namespace
}  // namespace talweg
