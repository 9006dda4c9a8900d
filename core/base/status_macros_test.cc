// SPDX-License-Identifier: Apache-2.0
#include "core/base/status_macros.h"

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

TEST(StatusMacrosTest, ReturnIfErrorReturnsTheErrorAndEvaluatesOnce) {
  int evaluated = 0;
  bool went_on = false;
  const auto run = [&](const absl::Status& status) -> absl::Status {
    TALWEG_RETURN_IF_ERROR((++evaluated, status));
    went_on = true;
    return absl::OkStatus();
  };
  EXPECT_EQ(run(absl::AbortedError("x")), absl::AbortedError("x"));
  EXPECT_FALSE(went_on);
  EXPECT_TRUE(run(absl::OkStatus()).ok());
  EXPECT_TRUE(went_on);
  EXPECT_EQ(evaluated, 2);
}

TEST(StatusMacrosTest, AssignOrReturnMovesTheValueOut) {
  using Pointer = std::unique_ptr<int>;
  const auto run = [](absl::StatusOr<Pointer> from, int& got) -> absl::Status {
    TALWEG_ASSIGN_OR_RETURN(const Pointer pointer, std::move(from));
    TALWEG_ASSIGN_OR_RETURN(got, absl::StatusOr<int>(*pointer + 1));
    return absl::OkStatus();
  };
  int got = 0;
  EXPECT_TRUE(run(std::make_unique<int>(41), got).ok());
  EXPECT_EQ(got, 42);
  EXPECT_EQ(run(absl::NotFoundError("y"), got), absl::NotFoundError("y"));
  EXPECT_EQ(got, 42);
}

}  // namespace
}  // namespace talweg::core
