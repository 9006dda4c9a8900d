// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/plots/report_writer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace talweg {
namespace {

std::string Contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

ReportWriter ReportIn(const std::string& folder) {
  ReportWriter report(folder);
  report.AddFile("plot", "loss curves", "loss.svg", "<svg>");
  report.AddFile("curves", "numbers", "loss.csv", "step,loss\n");
  report.AddFile("summary", "numbers", "summary.csv", "method\n");
  report.SetTable("method\nadam\n");
  report.SetRows("runs", {"{\"method\": \"adam\"}"});
  return report;
}

TEST(ReportWriterTest, APersonSeesTheTableAndThenThePaths) {
  EXPECT_EQ(ReportIn("out").Text(),
            "\nmethod\nadam\n"
            "\nloss curves  out/loss.svg"
            "\nnumbers      out/loss.csv, out/summary.csv\n");
}

TEST(ReportWriterTest, AScriptSeesTheRowsAndThePaths) {
  EXPECT_EQ(ReportIn("out").Json(),
            "{\n  \"runs\": [\n    {\"method\": \"adam\"}\n  ],\n"
            "  \"plot\": \"out/loss.svg\",\n  \"curves\": \"out/loss.csv\",\n"
            "  \"summary\": \"out/summary.csv\"\n}\n");
}

TEST(ReportWriterTest, DeliversTheFilesAndOneOfTheTwoSummaries) {
  const std::string folder = absl::StrCat(testing::TempDir(), "/report_writer_test_", getpid());
  const ReportWriter report = ReportIn(folder + "/deep");
  for (const bool json : {false, true}) {
    std::filesystem::remove_all(folder);
    std::ostringstream out;
    ASSERT_TRUE(report.Deliver(json, out).ok());
    EXPECT_EQ(out.str(), json ? report.Json() : report.Text());
    EXPECT_EQ(Contents(report.PathOf("plot")), "<svg>");
    EXPECT_EQ(Contents(report.PathOf("curves")), "step,loss\n");
    EXPECT_EQ(Contents(report.PathOf("summary")), "method\n");
  }
  std::filesystem::remove_all(folder);
}

TEST(ReportWriterTest, WhatCannotBeWrittenIsNotSummedUp) {
  std::ostringstream out;
  EXPECT_FALSE(ReportIn("/proc/no").Deliver(false, out).ok());
  EXPECT_EQ(out.str(), "");
}

}  // namespace
}  // namespace talweg
