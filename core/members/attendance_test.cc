// SPDX-License-Identifier: Apache-2.0
#include "core/members/attendance.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Time kStart = absl::UnixEpoch();
constexpr absl::Duration kLease = absl::Seconds(30);

// A toy policy: a guest that is seated keeps its place when it goes, and some are looked at often.
struct Guest : Member {
  bool seated = false;
  absl::Time look_by = absl::InfiniteFuture();
};

struct House {
  struct Rules {
    House& house;

    absl::Time now() const { return house.now; }
    absl::Time lease_end() const { return house.now + kLease; }
    void BeginsToLive(Guest& guest) const { house.Tell("begins", guest); }
    void CeasesToLive(Guest& guest, Departure why) const {
      constexpr const char* kNames[] = {"expires", "is replaced", "leaves"};
      house.Tell(kNames[static_cast<int>(why)], guest);
    }
    void IsLookedAt(Guest& guest) const {
      house.Tell("is looked at", guest);
      guest.look_by = absl::InfiniteFuture();
    }
    absl::Time LookAgainBy(const Guest& guest) const { return guest.look_by; }
    bool KeepsPlace(const Guest& guest) const { return guest.seated; }
    void CarryOver(const Guest& older, Guest& newer) const { newer.seated = older.seated; }
  };

  void Tell(const char* what, const Guest& guest) {
    told.push_back(absl::StrCat(guest.name, guest.live ? " " : " is dead and ", what));
  }
  std::vector<std::string> Told() { return std::exchange(told, {}); }

  Rules rules() { return {*this}; }
  absl::StatusOr<uint32_t> Admit(const std::string& name, Roles roles = {Role::kGradient},
                                 uint64_t nonce = 0) {
    return guests.Admit({name, ++incarnation, roles, nonce}, allowed, rules(), released);
  }
  // A member that is admitted for certain.
  uint32_t Enter(const std::string& name) { return Admit(name).value(); }
  void Pass(absl::Duration time) {
    now += time;
    guests.Look(rules());
  }

  Attendance<Guest> guests;
  absl::Time now = kStart;
  uint64_t incarnation = 0;
  size_t allowed = 3;
  std::vector<Released> released;
  std::vector<std::string> told;
};

TEST(AttendanceTest, AMemberIsAdmittedAndFound) {
  House house;
  const absl::StatusOr<uint32_t> a = house.Admit("a", {Role::kSearch});
  ASSERT_TRUE(a.ok());
  EXPECT_THAT(house.Told(), ElementsAre("a begins"));
  EXPECT_EQ(house.guests[*a].lease_end, kStart + kLease);
  EXPECT_EQ(house.guests.num_members(), 1u);
  EXPECT_EQ(house.guests.num_live(), 1u);
  EXPECT_EQ(house.guests.num_live(Role::kSearch), 1u);
  EXPECT_EQ(house.guests.num_live(Role::kGradient), 0u);
  EXPECT_EQ(house.guests.FindAndRenew("a", 1, house.rules()).value(), *a);
  EXPECT_EQ(ReasonName(house.guests.FindAndRenew("a", 2, house.rules()).status()),
            "WORKER_NOT_JOINED");
  EXPECT_EQ(ReasonName(house.guests.FindAndRenew("b", 1, house.rules()).status()),
            "WORKER_NOT_JOINED");
  EXPECT_THAT(house.Told(), IsEmpty());
}

TEST(AttendanceTest, ANewerIncarnationFencesTheOlderOne) {
  House house;
  const uint32_t a = house.Enter("a");
  house.guests[a].seated = true;
  house.guests[a].settled.sequence = 9;
  house.guests.calls().Add(house.guests[a], {5});
  EXPECT_EQ(house.Enter("a"), a);
  EXPECT_THAT(house.Told(), ElementsAre("a begins", "a is replaced", "a begins"));
  ASSERT_EQ(house.released.size(), 1u);
  EXPECT_EQ(house.released[0].ticket, 5u);
  EXPECT_EQ(ReasonName(house.released[0].status), "INCARNATION_FENCED");
  EXPECT_EQ(house.guests.calls().size(), 0u);
  EXPECT_EQ(house.guests[a].incarnation, 2u);
  EXPECT_EQ(house.guests[a].settled.sequence, 0u);
  EXPECT_TRUE(house.guests[a].seated);  // carried over
  EXPECT_EQ(house.guests.num_live(), 1u);
  EXPECT_EQ(ReasonName(house.guests.FindAndRenew("a", 1, house.rules()).status()),
            "INCARNATION_FENCED");
}

TEST(AttendanceTest, ARepeatedJoinOnlyRenewsTheLease) {
  House house;
  house.allowed = 1;
  const uint32_t a = house.Admit("a", {Role::kGradient}, 30).value();
  house.guests[a].settled.sequence = 9;
  house.guests.calls().Add(house.guests[a], {5});
  house.Told();
  house.Pass(kLease / 2);
  EXPECT_EQ(house.Admit("a", {Role::kGradient}, 30).value(), a);
  EXPECT_THAT(house.Told(), IsEmpty());
  EXPECT_THAT(house.released, IsEmpty());
  EXPECT_EQ(house.guests[a].incarnation, 1u);
  EXPECT_EQ(house.guests[a].settled.sequence, 9u);
  EXPECT_EQ(house.guests.calls().size(), 1u);
  EXPECT_EQ(house.guests[a].lease_end, house.now + kLease);
}

TEST(AttendanceTest, ARepeatedJoinOfAnExpiredMemberBringsItBack) {
  House house;
  const uint32_t a = house.Admit("a", {Role::kGradient}, 30).value();
  house.Pass(kLease);
  house.Told();
  EXPECT_EQ(house.Admit("a", {Role::kGradient}, 30).value(), a);
  EXPECT_THAT(house.Told(), ElementsAre("a begins"));
  EXPECT_EQ(house.guests[a].incarnation, 1u);
}

TEST(AttendanceTest, ALateAttemptOfAReplacedProcessFencesNobody) {
  House house;
  const uint32_t a = house.Admit("a", {Role::kGradient}, 10).value();
  house.Admit("a", {Role::kGradient}, 20).value();
  house.Admit("a").value();  // a process that knows no nonces
  house.guests.calls().Add(house.guests[a], {5});
  const std::vector<Released> before = std::exchange(house.released, {});
  EXPECT_EQ(ReasonName(house.Admit("a", {Role::kGradient}, 20).status()), "INCARNATION_FENCED");
  EXPECT_EQ(house.guests[a].incarnation, 3u);
  EXPECT_THAT(house.released, IsEmpty());
  // Farther back than the member remembers: it looks like a newer process.
  EXPECT_EQ(house.Admit("a", {Role::kGradient}, 10).value(), a);
  EXPECT_EQ(house.guests[a].incarnation, 5u);
}

TEST(AttendanceTest, ALeaseExpiresUnlessItIsRenewed) {
  House house;
  const uint32_t a = house.Enter("a");
  house.Enter("b");
  house.Told();
  EXPECT_EQ(house.guests.NextLook(), kStart + kLease);
  house.Pass(kLease / 2);
  ASSERT_TRUE(house.guests.FindAndRenew("a", 1, house.rules()).ok());
  house.Pass(kLease / 2);
  EXPECT_THAT(house.Told(), ::testing::UnorderedElementsAre("a is looked at", "b expires"));
  EXPECT_EQ(house.guests.num_live(), 1u);
  EXPECT_EQ(house.guests.num_members(), 2u);
  EXPECT_EQ(house.guests.NextLook(), house.guests[a].lease_end);
  house.Pass(kLease / 2);
  EXPECT_THAT(house.Told(), ElementsAre("a expires"));
  EXPECT_EQ(house.guests.NextLook(), absl::InfiniteFuture());
}

TEST(AttendanceTest, AnExpiredMemberMayGoOn) {
  House house;
  const uint32_t a = house.Enter("a");
  house.Pass(kLease);
  EXPECT_THAT(house.Told(), ElementsAre("a begins", "a expires"));
  EXPECT_EQ(house.guests.FindAndRenew("a", 1, house.rules()).value(), a);
  EXPECT_THAT(house.Told(), ElementsAre("a begins"));
  EXPECT_EQ(house.guests.num_live(), 1u);
}

TEST(AttendanceTest, ACallThatWaitsKeepsTheLeaseAndALostOneRenewsIt) {
  House house;
  const uint32_t a = house.Enter("a");
  house.guests.calls().Add(house.guests[a], {5});
  house.Pass(kLease * 3);
  EXPECT_EQ(house.guests.num_live(), 1u);
  house.guests.ForgetCall({"a", 5}, house.rules());
  house.guests.ForgetCall({"nobody", 5}, house.rules());
  EXPECT_EQ(house.guests.calls().size(), 0u);
  EXPECT_EQ(house.guests[a].lease_end, house.now + kLease);
  house.Pass(kLease);
  EXPECT_EQ(house.guests.num_live(), 0u);
}

TEST(AttendanceTest, AMemberThatLeavesIsGoneAndItsCallsFail) {
  House house;
  const uint32_t a = house.Enter("a");
  house.guests.calls().Add(house.guests[a], {5});
  house.guests.Leave(a, house.rules(), house.released);
  EXPECT_THAT(house.Told(), ElementsAre("a begins", "a leaves"));
  ASSERT_EQ(house.released.size(), 1u);
  EXPECT_EQ(ReasonName(house.released[0].status), "WORKER_NOT_JOINED");
  EXPECT_EQ(house.guests.num_members(), 0u);
  EXPECT_EQ(house.guests.num_live(), 0u);
  EXPECT_EQ(house.guests.table().Find("a"), Attendance<Guest>::kNone);
}

TEST(AttendanceTest, APlaceIsKeptAsLongAsThePolicyNeedsIt) {
  House house;
  const uint32_t a = house.Enter("a");
  house.guests[a].seated = true;
  house.guests.Leave(a, house.rules(), house.released);
  EXPECT_EQ(house.guests.num_members(), 0u);
  EXPECT_EQ(ReasonName(house.guests.FindAndRenew("a", 1, house.rules()).status()),
            "WORKER_NOT_JOINED");
  EXPECT_EQ(house.Enter("a"), a);
  EXPECT_TRUE(house.guests[a].seated);
  EXPECT_EQ(house.guests.num_members(), 1u);
  house.guests.Leave(a, house.rules(), house.released);
  house.guests.FreePlace(a);
  EXPECT_FALSE(house.guests[house.Enter("a")].seated);
}

TEST(AttendanceTest, AFullTableTakesThePlaceOfTheMemberThatExpiredLongestAgo) {
  House house;
  house.Enter("a");
  house.Enter("b");
  house.Pass(absl::Seconds(1));
  house.Enter("c");
  EXPECT_EQ(ReasonName(house.Admit("d").status()), "TOO_MANY_WORKERS");
  house.Enter("c");  // A member's own place is no new one.
  house.Pass(kLease);
  EXPECT_EQ(house.guests.num_live(), 0u);
  EXPECT_TRUE(house.Admit("d").ok());
  EXPECT_EQ(house.guests.num_members(), 3u);
  EXPECT_EQ(house.guests.table().Find("a"), Attendance<Guest>::kNone);
  EXPECT_TRUE(house.Admit("e").ok());
  EXPECT_EQ(house.guests.table().Find("b"), Attendance<Guest>::kNone);
  EXPECT_NE(house.guests.table().Find("c"), Attendance<Guest>::kNone);
}

TEST(AttendanceTest, ThePolicyLooksEarlierIfItAsksTo) {
  House house;
  const uint32_t a = house.Enter("a");
  house.guests[a].look_by = kStart + absl::Seconds(5);
  ASSERT_TRUE(house.guests.FindAndRenew("a", 1, house.rules()).ok());
  EXPECT_EQ(house.guests.NextLook(), kStart + absl::Seconds(5));
  house.Told();
  house.Pass(absl::Seconds(5));
  EXPECT_THAT(house.Told(), ElementsAre("a is looked at"));
  EXPECT_EQ(house.guests.NextLook(), kStart + kLease);
  house.guests.LookAt(a, house.now);
  EXPECT_EQ(house.guests.NextLook(), house.now);
  house.Pass(absl::ZeroDuration());
  house.guests.LookAtAll(house.now);
  EXPECT_EQ(house.guests.NextLook(), house.now);
}

TEST(AttendanceTest, ARestoredMemberLivesWithANewLeaseAndNobodyIsTold) {
  House house;
  house.now += absl::Hours(1);
  const uint32_t a = house.guests.table().Insert("a");
  house.guests[a].incarnation = 4;
  house.guests.Restore(a, house.rules());
  EXPECT_THAT(house.Told(), IsEmpty());
  EXPECT_EQ(house.guests.num_live(Role::kGradient), 1u);
  EXPECT_EQ(house.guests.NextLook(), house.now + kLease);
  EXPECT_TRUE(house.guests.FindAndRenew("a", 4, house.rules()).ok());
  house.Pass(kLease);
  EXPECT_THAT(house.Told(), ElementsAre("a expires"));
}

TEST(AttendanceDeathTest, IncarnationsGrow) {
  House house;
  house.Enter("a");
  house.incarnation = 0;
  EXPECT_DEATH(house.Enter("a"), "broken promise");
}

}  // namespace
}  // namespace talweg::core
