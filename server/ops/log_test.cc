// SPDX-License-Identifier: Apache-2.0
#include "server/ops/log.h"

#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "spdlog/spdlog.h"

namespace talweg::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

// What `write` puts on standard error after the log was set up so, in lines.
std::vector<std::string> LinesOf(const std::string& format, const std::string& level,
                                 const std::function<void()>& write) {
  ::testing::internal::CaptureStderr();
  spdlog::drop_all();
  const absl::Status status = SetUpLog(format, level);
  EXPECT_TRUE(status.ok()) << status;
  write();
  spdlog::default_logger()->flush();
  return absl::StrSplit(::testing::internal::GetCapturedStderr(), '\n', absl::SkipEmpty());
}

// The one JSON line that a message makes.
nlohmann::json JsonOf(const std::string& message) {
  const auto lines = LinesOf("json", "info", [&] { spdlog::info("{}", message); });
  EXPECT_THAT(lines, SizeIs(1));
  return lines.empty() ? nlohmann::json() : nlohmann::json::parse(lines[0]);
}

TEST(LogTest, ServicesTellOfSessionsAndOnlyToWhoAsksOfRefusals) {
  const auto speak = [] {
    LogSessionCreated("mlp", 70);
    LogRefusal(core::MakeError(core::Reason::kSessionNotFound, "no session \"x\""));
    LogSessionDeleted("mlp");
  };
  EXPECT_THAT(LinesOf("text", "info", speak),
              ElementsAre(HasSubstr("session mlp created: 70 parameters"),
                          HasSubstr("session mlp deleted")));
  EXPECT_THAT(
      LinesOf("text", "debug", speak),
      ElementsAre(HasSubstr("created"), HasSubstr("refused, SESSION_NOT_FOUND: no session \"x\""),
                  HasSubstr("deleted")));
}

TEST(LogTest, ParametersThatAreNotFiniteAreAWarning) {
  const auto lines = LinesOf("text", "warning", [] { LogNonFinite("mlp", 12, 3, 70); });
  EXPECT_THAT(lines, ElementsAre(HasSubstr("session mlp: from version 12 on, 3 parameters are not "
                                           "finite, the first is element 70")));
}

TEST(LogTest, AGenerationThatIsGivenUpIsToldWithItsReason) {
  const auto lines = LinesOf("text", "warning", [] { LogGivenUp("search", 12, 16); });
  EXPECT_THAT(lines, ElementsAre(HasSubstr("session search: a generation at version 12 was given "
                                           "up, because it has no losses to step with; 16 losses "
                                           "were not finite")));
}

TEST(LogTest, JsonLineHasTimeLevelAndMessage) {
  const auto lines = LinesOf("json", "info", [] { spdlog::warn("disk is {} % full", 93); });
  ASSERT_THAT(lines, SizeIs(1));
  const nlohmann::json line = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(line["message"], "disk is 93 % full");
  EXPECT_EQ(line["level"], "warning");
  EXPECT_THAT(line["time"].get<std::string>(),
              ::testing::MatchesRegex("....-..-..T..:..:..\\....Z"));
  EXPECT_THAT(line, SizeIs(3));
}

TEST(LogTest, JsonKeepsQuotesNewlinesAndControlBytes) {
  std::string message = "a \"quoted\" \\ back\\slash \\n %v {} \x7f";
  for (char c = 0; c < 0x20; ++c) message.push_back(c);
  EXPECT_EQ(JsonOf(message)["message"], message);
}

TEST(LogTest, JsonKeepsUtf8AndReplacesBytesThatAreNone) {
  EXPECT_EQ(JsonOf("größer ≤ 𝔼")["message"], "größer ≤ 𝔼");
  // A lone continuation, a lead without one, an overlong slash, a surrogate, past U+10FFFF, a cut.
  EXPECT_EQ(JsonOf("a\x80z \xc3( \xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82")["message"],
            "a?z ?( ?? ??? ???? ??");
}

TEST(LogTest, JsonWritesALongMessageWhole) {
  const std::string message(100'000, 'x');
  EXPECT_EQ(JsonOf(message)["message"], message);
}

TEST(LogTest, TextLineIsForPeople) {
  const auto lines = LinesOf("text", "info", [] { spdlog::info("listening on 127.0.0.1:1"); });
  ASSERT_THAT(lines, SizeIs(1));
  EXPECT_THAT(lines[0], HasSubstr("info"));
  EXPECT_THAT(lines[0], HasSubstr("listening on 127.0.0.1:1"));
  EXPECT_THAT(lines[0], Not(HasSubstr("{")));
}

TEST(LogTest, LevelHidesWhatIsBelowIt) {
  const auto count = [](const std::string& level) {
    return LinesOf("text", level,
                   [] {
                     spdlog::debug("1");
                     spdlog::info("2");
                     spdlog::warn("3");
                     spdlog::error("4");
                   })
        .size();
  };
  EXPECT_THAT(
      (std::vector<size_t>{count("debug"), count("info"), count("warning"), count("error")}),
      ElementsAre(4, 3, 2, 1));
}

TEST(LogTest, GrpcIsHeardOnlyByWhoAsks) {
  const auto verbosity = [](const std::string& level) {
    LinesOf("text", level, [] {});
    const char* value = getenv("GRPC_VERBOSITY");
    return std::string(value == nullptr ? "unset" : value);
  };
  unsetenv("GRPC_VERBOSITY");
  EXPECT_EQ(verbosity("debug"), "unset");
  EXPECT_EQ(verbosity("info"), "NONE");
  setenv("GRPC_VERBOSITY", "INFO", 1);
  EXPECT_EQ(verbosity("error"), "INFO");
  unsetenv("GRPC_VERBOSITY");
}

TEST(LogTest, UnknownFormatIsRefusedByName) {
  for (const char* format : {"", "xml", "JSON", "json "}) {
    const absl::Status status = SetUpLog(format, "info");
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << format;
    EXPECT_THAT(status.message(), HasSubstr("--log_format"));
  }
}

TEST(LogTest, UnknownLevelIsRefusedByName) {
  for (const char* level : {"", "loud", "INFO", "trace", "warn", "err", "critical", "off"}) {
    const absl::Status status = SetUpLog("text", level);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << level;
    EXPECT_THAT(status.message(), HasSubstr("--log_level"));
  }
}

TEST(LogTest, RefusalLeavesTheLogAsItWas) {
  spdlog::drop_all();
  EXPECT_FALSE(SetUpLog("xml", "info").ok());
  EXPECT_EQ(spdlog::get("talweg"), nullptr);
}

}  // namespace
}  // namespace talweg::server
