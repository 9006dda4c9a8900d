// SPDX-License-Identifier: Apache-2.0
#include "server/ops/call_log.h"

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/ops/log.h"
#include "spdlog/spdlog.h"

namespace talweg::server {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::IsEmpty;

std::vector<std::string> LinesAt(const std::string& level,
                                 const std::function<void(CallLog&)>& act) {
  ::testing::internal::CaptureStderr();
  spdlog::drop_all();
  EXPECT_TRUE(SetUpLog("text", level).ok());
  CallLog log;
  act(log);
  spdlog::default_logger()->flush();
  return absl::StrSplit(::testing::internal::GetCapturedStderr(), '\n', absl::SkipEmpty());
}

const CallFacts kCall = {.method = "talweg.v1.TrainingService/Step", .peer = "here"};

TEST(CallLogTest, SessionsThatComeAndGoAreToldAtInfo) {
  const auto lines = LinesAt("info", [](CallLog& log) {
    SessionIdentity session;
    session.session_id = "mlp";
    EXPECT_TRUE(log.Admit(kCall).ok());
    log.SessionCreated(kCall, session, 70);
    log.SessionDeleted(kCall, session);
    log.Ended(kCall, {});
  });
  EXPECT_THAT(lines, ElementsAre(EndsWith("session mlp created: 70 parameters"),
                                 EndsWith("session mlp deleted")));
}

TEST(CallLogTest, EveryEndIsTold) {
  const auto lines = LinesAt("debug", [](CallLog& log) {
    log.Ended(kCall, {.elapsed = absl::Milliseconds(1500), .bytes_in = 12, .bytes_out = 34});
    log.Ended(kCall, {.status = core::MakeError(core::Reason::kSessionNotFound, "no \"x\"")});
  });
  EXPECT_THAT(lines,
              ElementsAre(EndsWith("talweg.v1.TrainingService/Step ended: OK, 1.500000 s, 12 bytes "
                                   "in, 34 bytes out"),
                          EndsWith("refused, SESSION_NOT_FOUND: no \"x\""),
                          EndsWith("talweg.v1.TrainingService/Step ended: NOT_FOUND "
                                   "SESSION_NOT_FOUND, 0.000000 s, 0 bytes in, 0 bytes out")));
}

TEST(CallLogTest, AClientThatWentWasRefusedNothing) {
  const auto lines = LinesAt("debug", [](CallLog& log) {
    log.Ended(kCall, {.status = absl::CancelledError("the client has gone")});
  });
  EXPECT_THAT(lines,
              ElementsAre(EndsWith("ended: CANCELLED, 0.000000 s, 0 bytes in, 0 bytes out")));
  EXPECT_THAT(LinesAt("info", [](CallLog& log) { log.Ended(kCall, {}); }), IsEmpty());
}

}  // namespace
}  // namespace talweg::server
