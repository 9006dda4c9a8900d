// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/worker_table.h"

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;

constexpr absl::Time kStart = absl::UnixEpoch();

std::vector<std::string> SortedNames(const WorkerTable& table) {
  std::vector<std::string> names;
  for (const uint32_t index : table.Sorted()) names.push_back(table[index].name);
  return names;
}

// The workers whose alarms ring by `now`, in the order of ringing.
std::vector<uint32_t> Ringing(WorkerTable& table, absl::Time now) {
  std::vector<uint32_t> due;
  for (uint32_t index = table.TakeDue(now); index != WorkerTable::kNone;
       index = table.TakeDue(now)) {
    due.push_back(index);
  }
  return due;
}

TEST(WorkerTableTest, WorkersAreFoundByName) {
  WorkerTable table;
  EXPECT_EQ(table.Find("a"), WorkerTable::kNone);
  const uint32_t a = table.Insert("a");
  const uint32_t b = table.Insert("b");
  EXPECT_NE(a, b);
  EXPECT_EQ(table.Find("a"), a);
  EXPECT_EQ(table.Find("b"), b);
  EXPECT_EQ(table.Find(""), WorkerTable::kNone);
  EXPECT_EQ(table[a].name, "a");
  EXPECT_EQ(table.size(), 2u);
}

TEST(WorkerTableTest, AnErasedPlaceIsUsedAgainAndBlank) {
  WorkerTable table;
  const uint32_t a = table.Insert("a");
  table[a].incarnation = 7;
  table[a].live = true;
  table[a].calls.push_back({1, false});
  table.Erase(a);
  EXPECT_EQ(table.Find("a"), WorkerTable::kNone);
  EXPECT_EQ(table.size(), 0u);
  const uint32_t b = table.Insert("b");
  EXPECT_EQ(b, a);
  EXPECT_EQ(table.Find("b"), b);
  EXPECT_EQ(table.Find("a"), WorkerTable::kNone);
  EXPECT_EQ(table[b].incarnation, 0u);
  EXPECT_FALSE(table[b].live);
  EXPECT_TRUE(table[b].calls.empty());
}

TEST(WorkerTableTest, NamesOfAnyBytesAndLengthAreTold) {
  WorkerTable table;
  const std::vector<std::string> names = {"", std::string(1, '\0'), std::string(2, '\0'),
                                          std::string(1000, 'x'), "\xff\xfe"};
  std::vector<uint32_t> indexes;
  for (const std::string& name : names) indexes.push_back(table.Insert(name));
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(table.Find(names[i]), indexes[i]);
}

TEST(WorkerTableTest, IndexesStayGoodWhileOthersCome) {
  WorkerTable table;
  const uint32_t first = table.Insert("first");
  table[first].incarnation = 42;
  for (int number = 0; number < 10000; ++number) table.Insert(absl::StrCat(number));
  EXPECT_EQ(table.Find("first"), first);
  EXPECT_EQ(table[first].incarnation, 42u);
}

TEST(WorkerTableTest, ListsEveryWorkerOnce) {
  WorkerTable table;
  for (const char* name : {"c", "a", "d", "b"}) table.Insert(name);
  table.Erase(table.Find("d"));
  EXPECT_THAT(SortedNames(table), ElementsAre("a", "b", "c"));
  std::vector<std::string> seen;
  table.ForEach([&](uint32_t index) { seen.push_back(table[index].name); });
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, SortedNames(table));
}

TEST(WorkerTableTest, AlarmsRingWhenTheyAreDueInOrder) {
  WorkerTable table;
  const uint32_t a = table.Insert("a");
  const uint32_t b = table.Insert("b");
  const uint32_t c = table.Insert("c");
  EXPECT_EQ(table.NextAlarm(), absl::InfiniteFuture());
  table.SetAlarm(a, kStart + absl::Seconds(3));
  table.SetAlarm(b, kStart + absl::Seconds(1));
  table.SetAlarm(c, kStart + absl::Seconds(2));
  EXPECT_EQ(table.NextAlarm(), kStart + absl::Seconds(1));
  EXPECT_THAT(Ringing(table, kStart), ElementsAre());
  EXPECT_THAT(Ringing(table, kStart + absl::Seconds(2)), ElementsAre(b, c));
  EXPECT_EQ(table.NextAlarm(), kStart + absl::Seconds(3));
  EXPECT_THAT(Ringing(table, kStart + absl::Seconds(3)), ElementsAre(a));
  EXPECT_EQ(table.NextAlarm(), absl::InfiniteFuture());
}

TEST(WorkerTableTest, AWorkerHasOneAlarm) {
  WorkerTable table;
  const uint32_t a = table.Insert("a");
  table.SetAlarm(a, kStart + absl::Seconds(5));
  table.SetAlarm(a, kStart + absl::Seconds(9));
  EXPECT_THAT(Ringing(table, kStart + absl::Seconds(9)), ElementsAre(a));
  table.SetAlarm(a, kStart + absl::Seconds(12));  // after it rang it may have another
  EXPECT_EQ(table.NextAlarm(), kStart + absl::Seconds(12));
}

TEST(WorkerTableTest, WhoTakesAnErasedPlaceHasOneAlarmToo) {
  WorkerTable table;
  const uint32_t a = table.Insert("a");
  table.SetAlarm(a, kStart + absl::Seconds(5));
  table.Erase(a);
  const uint32_t b = table.Insert("b");
  ASSERT_EQ(b, a);
  table.SetAlarm(b, kStart + absl::Seconds(8));
  EXPECT_EQ(table.NextAlarm(), kStart + absl::Seconds(8));  // not that of the one before
  EXPECT_THAT(Ringing(table, kStart + absl::Seconds(8)), ElementsAre(b));
}

TEST(WorkerTableTest, RingAllWakesTheLiveOnes) {
  WorkerTable table;
  const uint32_t a = table.Insert("a");
  const uint32_t b = table.Insert("b");
  const uint32_t erased = table.Insert("erased");
  table[a].live = true;
  table.SetAlarm(a, kStart + absl::Hours(1));
  table.SetAlarm(b, kStart + absl::Hours(1));
  table.SetAlarm(erased, kStart + absl::Hours(1));
  table.Erase(erased);
  table.RingAll(kStart);
  EXPECT_EQ(table.NextAlarm(), kStart);
  EXPECT_THAT(Ringing(table, kStart + absl::Hours(2)), ElementsAre(a));
  // All may be set again.
  const uint32_t c = table.Insert("c");
  ASSERT_EQ(c, erased);
  table.SetAlarm(b, kStart + absl::Seconds(1));
  table.SetAlarm(c, kStart + absl::Seconds(2));
  EXPECT_THAT(Ringing(table, kStart + absl::Seconds(2)), ElementsAre(b, c));
}

TEST(WorkerTableTest, AgreesWithAMapHoweverWorkersComeAndGo) {
  std::mt19937 random(7);
  WorkerTable table;
  std::map<std::string, uint64_t> map;
  for (uint64_t step = 1; step <= 50000; ++step) {
    const std::string name = absl::StrCat(random() % 3000);
    const uint32_t index = table.Find(name);
    ASSERT_EQ(index != WorkerTable::kNone, map.count(name) > 0);
    if (index == WorkerTable::kNone) {
      table[table.Insert(name)].incarnation = map[name] = step;
    } else {
      ASSERT_EQ(table[index].incarnation, map[name]);
      if (random() % 2 == 0) continue;
      table.Erase(index);
      map.erase(name);
    }
  }
  EXPECT_EQ(table.size(), map.size());
  std::vector<std::string> names;
  for (const auto& [name, incarnation] : map) names.push_back(name);
  EXPECT_EQ(SortedNames(table), names);
}

TEST(WorkerTableDeathTest, NamesAreNew) {
  WorkerTable table;
  table.Insert("a");
  EXPECT_DEATH(table.Insert("a"), "broken promise");
}

}  // namespace
}  // namespace talweg::core
