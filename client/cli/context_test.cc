// SPDX-License-Identifier: Apache-2.0
#include "client/cli/context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "client/cpp/talweg/fake_transport.h"

namespace talweg {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

Arguments Parse(const std::vector<std::string>& words) {
  return Arguments::Parse({{"worker", "NAME", ""}}, 0, words).value();
}

TEST(ContextTest, TwoPeopleHaveTwoDefaultNames) {
  unsetenv("TALWEG_WORKER");
  EXPECT_EQ(WorkerAsAsked(Parse({"--worker=w"})), "w");
  const std::string name = WorkerAsAsked(Parse({}));
  EXPECT_THAT(name, MatchesRegex("cli-[A-Za-z0-9._-]+-[A-Za-z0-9._-]+"));
  EXPECT_EQ(WorkerAsAsked(Parse({})), name);  // `session leave` finds what `session join` took
  setenv("TALWEG_WORKER", "pod-1", 1);
  EXPECT_EQ(WorkerAsAsked(Parse({})), "pod-1");
  unsetenv("TALWEG_WORKER");
}

TEST(ContextTest, WhoIsFencedIsToldToTakeANameOfItsOwn) {
  const absl::Status fenced = WithWorker(
      ServerError(absl::StatusCode::kAborted, "INCARNATION_FENCED", "header.incarnation"), "cli-a");
  EXPECT_EQ(ReasonOf(fenced), "INCARNATION_FENCED");
  EXPECT_EQ(FieldOf(fenced), "header.incarnation");
  EXPECT_THAT(std::string(fenced.message()),
              HasSubstr("another process joined as \"cli-a\": give each a name of its own with "
                        "--worker"));
  EXPECT_EQ(WithWorker(absl::InternalError("other"), "w").message(), "other");
}

TEST(ContextTest, AServerThatIsNotThereIsToldOnceAfterASecond) {
  AbsenceNotice notice("host:1", absl::Seconds(30));
  EXPECT_EQ(notice.Connecting(absl::Milliseconds(900)), "");
  EXPECT_EQ(notice.Connecting(absl::Seconds(1)),
            "no talweg-server answers at host:1 yet; trying for 30 s in all (--timeout)");
  EXPECT_EQ(notice.Connecting(absl::Seconds(2)), "");
}

TEST(ContextTest, AServerThatGoesAwayIsToldOncePerAbsence) {
  AbsenceNotice notice("host:1", absl::Seconds(30));
  const absl::Status why = absl::UnavailableError("the connection broke");
  const absl::Time begin = absl::UnixEpoch();
  for (const absl::Duration past : {absl::ZeroDuration(), absl::Hours(1)}) {
    EXPECT_EQ(notice.Retrying(why, begin + past), "");  // a short break is nobody's business
    EXPECT_EQ(notice.Retrying(why, begin + past + absl::Milliseconds(500)), "");
    EXPECT_THAT(notice.Retrying(why, begin + past + absl::Milliseconds(1500)),
                StartsWith("the server at host:1 does not answer; trying for 30 s in all "
                           "(--timeout). the connection broke"));
    EXPECT_EQ(notice.Retrying(why, begin + past + absl::Seconds(3)), "");
  }
}

}  // namespace
}  // namespace talweg
