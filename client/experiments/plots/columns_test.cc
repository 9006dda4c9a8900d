// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/plots/columns.h"

#include <gtest/gtest.h>

#include <limits>

#include "nlohmann/json.hpp"

namespace talweg {
namespace {

struct Sample {
  std::string name;
  uint64_t steps = 0;
  double loss = 0;
  bool arrived = false;
};

const std::vector<Sample>& Samples() {
  static const auto& runs =
      *new std::vector<Sample>{{"a, slow", 12345, 0.25, true}, {"b", 7, 1e-9, false}};
  return runs;
}

Columns<Sample> SampleColumns() {
  return Columns<Sample>({
      {"name", [](const Sample& r) { return QuotedWord(r.name); }, "run", Align::kLeft,
       [](const Sample& r) { return r.name; }},
      {"steps", [](const Sample& r) { return Whole(r.steps); }, "steps", Align::kRight,
       [](const Sample& r) { return GroupDigits(r.steps); }},
      {"loss", [](const Sample& r) { return Number("%.4f", r.loss); }},
      {"arrived", [](const Sample& r) { return YesNo(r.arrived); }},
      {"kind", [](const Sample&) { return Word("any"); }},
      {"remark", nullptr, "", Align::kLeft,
       [](const Sample& r) { return r.arrived ? "" : "late"; }},
  });
}

TEST(ColumnsTest, TableHasTheColumnsForPeople) {
  EXPECT_EQ(SampleColumns().Table(Samples()),
            "run       steps\n"
            "a, slow  12,345\n"
            "b             7  late\n");
}

TEST(ColumnsTest, CsvHasTheColumnsForScripts) {
  EXPECT_EQ(SampleColumns().Csv(Samples()),
            "name,steps,loss,arrived,kind\n"
            "\"a, slow\",12345,0.2500,1,any\n"
            "\"b\",7,0.0000,0,any\n");
}

TEST(ColumnsTest, JsonHasOneObjectPerRow) {
  const std::vector<std::string> rows = SampleColumns().JsonRows(Samples());
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0],
            "{\"name\": \"a, slow\", \"steps\": 12345, \"loss\": 0.2500, \"arrived\": true, "
            "\"kind\": \"any\"}");
}

TEST(ColumnsTest, JsonRowsAreJsonWithTheColumnsInTheirOrder) {
  Sample hostile = Samples()[0];
  hostile.name = "a \"quoted\" name\nwith \\ and a \xff";
  hostile.loss = std::numeric_limits<double>::quiet_NaN();
  const auto row = nlohmann::ordered_json::parse(SampleColumns().JsonRows({hostile})[0]);
  EXPECT_EQ(row["name"], "a \"quoted\" name\nwith \\ and a \xef\xbf\xbd");
  EXPECT_TRUE(row["loss"].is_null());
  EXPECT_EQ(row["steps"], 12345);
  EXPECT_EQ(row["arrived"], true);
  std::vector<std::string> names;
  for (const auto& [name, value] : row.items()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"name", "steps", "loss", "arrived", "kind"}));
}

TEST(ColumnsTest, PickChoosesColumnsAndTheirOrder) {
  const Columns<Sample> picked = SampleColumns().Pick({"steps", "name", "no such column"});
  EXPECT_EQ(picked.Csv(Samples()), "steps,name\n12345,\"a, slow\"\n7,\"b\"\n");
  EXPECT_EQ(picked.Table(Samples()), " steps  run\n12,345  a, slow\n     7  b\n");
}

TEST(ColumnsTest, LineLeavesOutWhatSaysNothing) {
  EXPECT_EQ(SampleColumns().Line(Samples()[0]), "name=a, slow steps=12,345");
  EXPECT_EQ(SampleColumns().Line(Samples()[1]), "name=b steps=7 remark=late");
}

TEST(ColumnsTest, NoRowsLeaveTheHeader) {
  EXPECT_EQ(SampleColumns().Csv({}), "name,steps,loss,arrived,kind\n");
  EXPECT_TRUE(SampleColumns().JsonRows({}).empty());
}

}  // namespace
}  // namespace talweg
