// SPDX-License-Identifier: Apache-2.0
#include "client/cli/run_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "absl/strings/str_join.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

v1::WatchSessionResponse Steps(uint64_t first, uint64_t last) {
  v1::WatchSessionResponse message;
  for (uint64_t version = first; version <= last; ++version) {
    v1::StepRecord& record = *message.add_records();
    record.set_version(version);
    record.mutable_time()->set_seconds(static_cast<int64_t>(version / 4));
    record.mutable_time()->set_nanos(static_cast<int32_t>(version % 4) * 250'000'000);
    record.mutable_report()->set_loss(2 * std::exp(-static_cast<double>(version) / 100));
    record.mutable_report()->set_learning_rate(0.5);
    record.mutable_report()->set_gradient_norm(1.0 / static_cast<double>(version));
    record.mutable_report()->set_clip_factor(1);
    record.mutable_report()->set_contributors(1);
    record.set_step_seconds(1e-4);
  }
  return message;
}

std::string Text(const std::vector<std::string>& page) { return absl::StrJoin(page, "\n"); }

TEST(RunViewTest, TellsThatThereIsNoStepYet) {
  const RunView view("mlp");
  EXPECT_EQ(Text(view.Page({80, 24}, kNow)), "mlp  no step yet");
}

TEST(RunViewTest, WhatIsNotANumberHasNoSign) {
  RunView view("mlp");
  v1::WatchSessionResponse message = Steps(1, 3);
  v1::StepReport& report = *message.mutable_records(2)->mutable_report();
  report.set_loss(std::copysign(NAN, -1.0));
  report.set_gradient_norm(std::copysign(NAN, -1.0));
  view.Take(message, kNow);
  const std::string page = Text(view.Page({80, 24}, kNow));
  EXPECT_THAT(page, HasSubstr("loss                      nan"));
  EXPECT_THAT(page, HasSubstr("gradient_norm             nan"));
  EXPECT_THAT(page, Not(HasSubstr("-nan")));
}

TEST(RunViewTest, NumbersStandBelowEachOtherWhateverTheirNames) {
  RunView view("search");
  v1::WatchSessionResponse message = Steps(1, 3);
  for (v1::StepRecord& record : *message.mutable_records()) {
    record.mutable_report()->mutable_search()->set_loss_deviation(
        0.25 * static_cast<double>(record.version()));
  }
  view.Take(message, kNow);
  std::set<size_t> ends;
  size_t num_lines = 0;
  for (const std::string& line : view.Page({100, 60}, kNow)) {
    if (line.find("gradient_norm") != 0 && line.find("search_loss_deviation") != 0) continue;
    const size_t number = line.find_first_not_of(' ', line.find(' '));
    ends.insert(line.find(' ', number));
    ++num_lines;
  }
  EXPECT_EQ(num_lines, 2u);
  EXPECT_EQ(ends.size(), 1u);
}

TEST(RunViewTest, TellsWhatTheOpenRoundWaitsForUntilTheNextStep) {
  RunView view("mlp");
  v1::OpenRound round;
  round.set_version(1);
  round.set_open_seconds(2.5);
  round.mutable_expected()->set_count(1);
  round.mutable_expected()->add_names("b");
  round.set_close(v1::CLOSE_RULE_ALL);
  view.ShowRound(round);
  EXPECT_EQ(Text(view.Page({80, 24}, kNow)),
            "mlp  no step yet\n"
            "open round         makes version 1, for 2.5 s\n"
            "waits for          1: b\n"
            "closes             ALL");
  view.Take(Steps(1, 1), kNow + absl::Seconds(9));
  EXPECT_THAT(Text(view.Page({80, 24}, kNow)), Not(HasSubstr("waits for")));
}

TEST(RunViewTest, ShowsCurvesWithTheirCurrentValuesAndTheSpeed) {
  RunView view("mlp");
  view.Take(Steps(1, 1200), kNow);
  const std::string page = Text(view.Page({80, 24}, kNow));
  EXPECT_THAT(page, HasSubstr("mlp  version 1,200  4 steps/s\n"));
  EXPECT_THAT(page, HasSubstr("gradient_norm       0.0008333  █▂▂▁▁"));
  EXPECT_THAT(page, HasSubstr("learning_rate             0.5  ▅▅▅▅▅"));
  EXPECT_THAT(page, HasSubstr("█▇"));
  // A number that says nothing has no line.
  EXPECT_THAT(page, Not(HasSubstr("clip_factor")));
  EXPECT_THAT(page, Not(HasSubstr("staleness")));
  EXPECT_THAT(page, Not(HasSubstr("contributors")));
}

TEST(RunViewTest, FitsEveryWindow) {
  RunView view("mlp");
  view.Take(Steps(1, 500), kNow);
  for (const TerminalSize size :
       {TerminalSize{200, 60}, {80, 24}, {60, 12}, {40, 9}, {20, 5}, {1, 1}}) {
    const std::vector<std::string> page = view.Page(size, kNow);
    EXPECT_LE(page.size(), size.rows);
    if (size.columns < 40) continue;  // The screen cuts lines if it is narrower than the words.
    for (const std::string& line : page) EXPECT_LE(TextWidth(line), size.columns) << line;
  }
}

TEST(RunViewTest, NarrowWindowsKeepTheCurveBeforeItsRange) {
  RunView view("mlp");
  view.Take(Steps(1, 500), kNow);
  const std::string page = Text(view.Page({45, 9}, kNow));
  EXPECT_THAT(page, HasSubstr("gradient_norm           0.002  █▂▂▁▁▁▁▁▁▁▁▁▁▁\n"));
}

TEST(RunViewTest, SaysHowLongNothingCame) {
  RunView view("mlp");
  view.Take(Steps(1, 3), kNow);
  EXPECT_THAT(Text(view.Page({80, 24}, kNow + absl::Seconds(4))), Not(HasSubstr("no step")));
  EXPECT_THAT(Text(view.Page({80, 24}, kNow + absl::Seconds(12))), HasSubstr("no step for 12 s"));
}

TEST(RunViewTest, ALongWatchTakesBoundedMemory) {
  RunView view("mlp");
  for (uint64_t version = 1; version < 5 * RunView::kMaxRecords; version += 500) {
    view.Take(Steps(version, version + 499), kNow);
    EXPECT_LE(view.num_records(), RunView::kMaxRecords);
  }
  EXPECT_THAT(Text(view.Page({80, 24}, kNow)), HasSubstr("version 41,000"));
}

TEST(RunViewTest, ALossThatIsNotFiniteIsToldAndNotDrawn) {
  RunView view("mlp");
  v1::WatchSessionResponse steps = Steps(1, 3);
  steps.mutable_records(2)->mutable_report()->set_loss(std::nan(""));
  view.Take(steps, kNow);
  EXPECT_THAT(Text(view.Page({80, 24}, kNow)), HasSubstr("loss                      nan"));
}

}  // namespace
}  // namespace talweg
