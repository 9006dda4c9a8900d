// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/plots/report_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace talweg {
namespace {

TEST(ReportFilesTest, QuotedIsAStringOfJson) {
  EXPECT_EQ(Quoted("results/loss.svg"), "\"results/loss.svg\"");
  EXPECT_EQ(Quoted("a \"b\" \\ \n"), "\"a \\\"b\\\" \\\\ \\n\"");
  EXPECT_EQ(Quoted("Candès"), "\"Candès\"");
}

TEST(ReportFilesTest, AReportIsOneObjectOfRowsAndFiles) {
  const std::string plot = "out/plot.svg";
  const std::string summary = "out/a \"strange\" folder/summary.csv";
  const std::vector<std::string> rows = {"{\"steps\": 1}", "{\"steps\": 2}"};
  const std::string text = ReportJson("runs", rows, {{"plot", plot}, {"summary", summary}});
  EXPECT_EQ(text,
            "{\n  \"runs\": [\n    {\"steps\": 1},\n    {\"steps\": 2}\n  ],\n"
            "  \"plot\": \"out/plot.svg\",\n"
            "  \"summary\": \"out/a \\\"strange\\\" folder/summary.csv\"\n}\n");
  const auto report = nlohmann::ordered_json::parse(text);
  EXPECT_EQ(report["runs"].size(), 2u);
  EXPECT_EQ(report["summary"], summary);
  EXPECT_TRUE(nlohmann::ordered_json::parse(ReportJson("runs", {}, {})).at("runs").empty());
}

TEST(ReportFilesTest, WritesFilesAndTheFoldersAboveThem) {
  const std::string folder = absl::StrCat(testing::TempDir(), "/report_files_test_", getpid());
  ASSERT_TRUE(MakeFolder(folder + "/a/b").ok());
  ASSERT_TRUE(WriteFile(folder + "/a/b/c.csv", "x,y\n").ok());
  std::ifstream file(folder + "/a/b/c.csv");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "x,y\n");
  EXPECT_FALSE(WriteFile(folder + "/none/c.csv", "").ok());
  EXPECT_FALSE(MakeFolder(folder + "/a/b/c.csv/d").ok());
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace talweg
