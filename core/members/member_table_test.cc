// SPDX-License-Identifier: Apache-2.0
#include "core/members/member_table.h"

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;

// A policy's own part of a member.
struct Guest : Member {
  uint64_t visits = 0;
};
using Table = MemberTable<Guest>;

constexpr absl::Time kStart = absl::UnixEpoch();

std::vector<std::string> SortedNames(const Table& table) {
  std::vector<std::string> names;
  for (const uint32_t index : table.Sorted()) names.push_back(table[index].name);
  return names;
}

// The workers whose alarms ring by `now`, in the order of ringing.
std::vector<uint32_t> Ringing(Table& table, absl::Time now) {
  std::vector<uint32_t> due;
  for (uint32_t index = table.PopRinging(now); index != Table::kNone;
       index = table.PopRinging(now)) {
    due.push_back(index);
  }
  return due;
}

TEST(MemberTableTest, WorkersAreFoundByName) {
  Table table;
  EXPECT_EQ(table.Find("a"), Table::kNone);
  const uint32_t a = table.Insert("a");
  const uint32_t b = table.Insert("b");
  EXPECT_NE(a, b);
  EXPECT_EQ(table.Find("a"), a);
  EXPECT_EQ(table.Find("b"), b);
  EXPECT_EQ(table.Find(""), Table::kNone);
  EXPECT_EQ(table[a].name, "a");
  EXPECT_EQ(table.size(), 2u);
}

TEST(MemberTableTest, AnErasedPlaceIsUsedAgainAndBlank) {
  Table table;
  const uint32_t a = table.Insert("a");
  table[a].incarnation = 7;
  table[a].live = true;
  table[a].calls.push_back({1, false});
  table.Erase(a);
  EXPECT_EQ(table.Find("a"), Table::kNone);
  EXPECT_EQ(table.size(), 0u);
  const uint32_t b = table.Insert("b");
  EXPECT_EQ(b, a);
  EXPECT_EQ(table.Find("b"), b);
  EXPECT_EQ(table.Find("a"), Table::kNone);
  EXPECT_EQ(table[b].incarnation, 0u);
  EXPECT_FALSE(table[b].live);
  EXPECT_TRUE(table[b].calls.empty());
}

TEST(MemberTableTest, NamesOfAnyBytesAndLengthAreTold) {
  Table table;
  const std::vector<std::string> names = {"", std::string(1, '\0'), std::string(2, '\0'),
                                          std::string(1000, 'x'), "\xff\xfe"};
  std::vector<uint32_t> indexes;
  for (const std::string& name : names) indexes.push_back(table.Insert(name));
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(table.Find(names[i]), indexes[i]);
}

TEST(MemberTableTest, IndexesStayGoodWhileOthersCome) {
  Table table;
  const uint32_t first = table.Insert("first");
  table[first].incarnation = 42;
  for (int number = 0; number < 10000; ++number) table.Insert(absl::StrCat(number));
  EXPECT_EQ(table.Find("first"), first);
  EXPECT_EQ(table[first].incarnation, 42u);
}

TEST(MemberTableTest, ListsEveryWorkerOnce) {
  Table table;
  for (const char* name : {"c", "a", "d", "b"}) table.Insert(name);
  table.Erase(table.Find("d"));
  EXPECT_THAT(SortedNames(table), ElementsAre("a", "b", "c"));
  std::vector<std::string> seen;
  table.ForEach([&](uint32_t index) { seen.push_back(table[index].name); });
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, SortedNames(table));
}

TEST(MemberTableTest, AlarmsRingWhenTheyAreDueInOrder) {
  Table table;
  const uint32_t a = table.Insert("a");
  const uint32_t b = table.Insert("b");
  const uint32_t c = table.Insert("c");
  EXPECT_EQ(table.EarliestAlarm(), absl::InfiniteFuture());
  table.SetAlarm(a, kStart + absl::Seconds(3));
  table.SetAlarm(b, kStart + absl::Seconds(1));
  table.SetAlarm(c, kStart + absl::Seconds(2));
  EXPECT_EQ(table.EarliestAlarm(), kStart + absl::Seconds(1));
  EXPECT_THAT(Ringing(table, kStart), ElementsAre());
  EXPECT_THAT(Ringing(table, kStart + absl::Seconds(2)), ElementsAre(b, c));
  EXPECT_EQ(table.EarliestAlarm(), kStart + absl::Seconds(3));
  EXPECT_THAT(Ringing(table, kStart + absl::Seconds(3)), ElementsAre(a));
  EXPECT_EQ(table.EarliestAlarm(), absl::InfiniteFuture());
}

TEST(MemberTableTest, AWorkerHasOneAlarm) {
  Table table;
  const uint32_t a = table.Insert("a");
  table.SetAlarm(a, kStart + absl::Seconds(5));
  table.SetAlarm(a, kStart + absl::Seconds(9));
  EXPECT_THAT(Ringing(table, kStart + absl::Seconds(9)), ElementsAre(a));
  table.SetAlarm(a, kStart + absl::Seconds(12));  // after it rang it may have another
  EXPECT_EQ(table.EarliestAlarm(), kStart + absl::Seconds(12));
}

TEST(MemberTableTest, WhoTakesAnErasedPlaceHasOneAlarmToo) {
  Table table;
  const uint32_t a = table.Insert("a");
  table.SetAlarm(a, kStart + absl::Seconds(5));
  table.Erase(a);
  const uint32_t b = table.Insert("b");
  ASSERT_EQ(b, a);
  table.SetAlarm(b, kStart + absl::Seconds(8));
  EXPECT_EQ(table.EarliestAlarm(), kStart + absl::Seconds(8));  // not that of the one before
  EXPECT_THAT(Ringing(table, kStart + absl::Seconds(8)), ElementsAre(b));
}

TEST(MemberTableTest, RingAllWakesTheLiveOnes) {
  Table table;
  const uint32_t a = table.Insert("a");
  const uint32_t b = table.Insert("b");
  const uint32_t erased = table.Insert("erased");
  table[a].live = true;
  table.SetAlarm(a, kStart + absl::Hours(1));
  table.SetAlarm(b, kStart + absl::Hours(1));
  table.SetAlarm(erased, kStart + absl::Hours(1));
  table.Erase(erased);
  table.RingAll(kStart);
  EXPECT_EQ(table.EarliestAlarm(), kStart);
  EXPECT_THAT(Ringing(table, kStart + absl::Hours(2)), ElementsAre(a));
  // All may be set again.
  const uint32_t c = table.Insert("c");
  ASSERT_EQ(c, erased);
  table.SetAlarm(b, kStart + absl::Seconds(1));
  table.SetAlarm(c, kStart + absl::Seconds(2));
  EXPECT_THAT(Ringing(table, kStart + absl::Seconds(2)), ElementsAre(b, c));
}

TEST(MemberTableTest, APlaceThatIsKeptIsNoMember) {
  Table table;
  const uint32_t a = table.Insert("a");
  table.Insert("b");
  table.KeepPlace(a);
  EXPECT_EQ(table.num_members(), 1u);
  EXPECT_EQ(table.num_left(), 1u);
  EXPECT_EQ(table.size(), 2u);
  EXPECT_EQ(table.Find("a"), a);
  table.Reset(a);
  EXPECT_EQ(table.num_members(), 2u);
  EXPECT_EQ(table.num_left(), 0u);
  table.KeepPlace(a);
  table.Erase(a);
  EXPECT_EQ(table.num_members(), 1u);
  EXPECT_EQ(table.num_left(), 0u);
}

TEST(MemberTableTest, ResetLeavesNameAndAlarm) {
  Table table;
  const uint32_t a = table.Insert("a");
  table[a].incarnation = 7;
  table[a].visits = 9;
  table.SetAlarm(a, kStart);
  EXPECT_EQ(&table.Reset(a), &table[a]);
  EXPECT_EQ(table[a].name, "a");
  EXPECT_EQ(table[a].incarnation, 0u);
  EXPECT_EQ(table[a].visits, 0u);
  EXPECT_EQ(table.Find("a"), a);
  EXPECT_THAT(Ringing(table, kStart), ElementsAre(a));
}

TEST(MemberTableTest, LongestExpiredIsNeitherLiveNorGone) {
  Table table;
  EXPECT_EQ(table.LongestExpired(), Table::kNone);
  const auto insert = [&](const char* name, int lease_end, bool live) {
    const uint32_t index = table.Insert(name);
    table[index].lease_end = kStart + absl::Seconds(lease_end);
    table[index].live = live;
    return index;
  };
  insert("a", 1, true);
  EXPECT_EQ(table.LongestExpired(), Table::kNone);
  const uint32_t d = insert("d", 3, false);
  const uint32_t c = insert("c", 2, false);
  const uint32_t b = insert("b", 2, false);
  EXPECT_EQ(table.LongestExpired(), b);  // of two, the first by name
  table.KeepPlace(b);
  EXPECT_EQ(table.LongestExpired(), c);
  table.Erase(c);
  EXPECT_EQ(table.LongestExpired(), d);
}

TEST(MemberTableTest, MovesWhole) {
  Table first;
  const uint32_t a = first.Insert("a");
  first.SetAlarm(a, kStart);
  Table second;
  second.Insert("other");
  second = std::move(first);
  EXPECT_EQ(second.Find("a"), a);
  EXPECT_EQ(second.Find("other"), Table::kNone);
  for (int number = 0; number < 100; ++number) second.Insert(absl::StrCat(number));
  EXPECT_EQ(second.Find("a"), a);
  EXPECT_EQ(second.EarliestAlarm(), kStart);
}

TEST(MemberTableTest, AgreesWithAMapHoweverWorkersComeAndGo) {
  std::mt19937 random(7);
  Table table;
  std::map<std::string, uint64_t> map;
  for (uint64_t step = 1; step <= 50000; ++step) {
    const std::string name = absl::StrCat(random() % 3000);
    const uint32_t index = table.Find(name);
    ASSERT_EQ(index != Table::kNone, map.count(name) > 0);
    if (index == Table::kNone) {
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

TEST(MemberTableDeathTest, NamesAreNew) {
  Table table;
  table.Insert("a");
  EXPECT_DEATH(table.Insert("a"), "broken promise");
}

}  // namespace
}  // namespace talweg::core
