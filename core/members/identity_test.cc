// SPDX-License-Identifier: Apache-2.0
#include "core/members/identity.h"

#include <string>
#include <vector>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Table = MemberTable<Member>;

uint32_t Add(Table& table, const std::string& name, bool live, int lease_end_seconds) {
  const uint32_t index = table.Insert(name);
  table[index].live = live;
  table[index].lease_end = absl::UnixEpoch() + absl::Seconds(lease_end_seconds);
  return index;
}

// Makes room for `name` and returns the names that were dropped.
std::vector<std::string> Dropped(Table& table, const std::string& name, size_t allowed) {
  std::vector<std::string> dropped;
  const absl::Status status = MakeRoom(table, name, allowed, [&](uint32_t index) {
    dropped.push_back(table[index].name);
    table.Erase(index);
  });
  EXPECT_TRUE(status.ok()) << status;
  return dropped;
}

TEST(IdentityTest, AnotherHistoryIsToldWhereToGoOnFrom) {
  EXPECT_TRUE(CheckHistory(5, 5, 17).ok());
  const absl::Status status = CheckHistory(4, 5, 17);
  EXPECT_EQ(ReasonName(status), "HISTORY_CHANGED");
  EXPECT_EQ(status.message(), "history 4 is not the session's, which is 5 at version 17");
}

TEST(IdentityTest, OnlyTheIncarnationThatJoinedLastMaySpeak) {
  Member member;
  member.name = "a";
  member.incarnation = 3;
  EXPECT_TRUE(CheckIncarnation(&member, "a", 3).ok());
  const absl::Status fenced = CheckIncarnation(&member, "a", 2);
  EXPECT_EQ(ReasonName(fenced), "INCARNATION_FENCED");
  EXPECT_EQ(fenced.message(), "incarnation 2 of worker \"a\" was replaced by incarnation 3");
  EXPECT_EQ(ReplacedError(member, 4).message(),
            "incarnation 3 of worker \"a\" was replaced by incarnation 4");
  EXPECT_EQ(ReasonName(ReplacedError(member, 4)), "INCARNATION_FENCED");
}

TEST(IdentityTest, AnIncarnationNeverIssuedOrThatLeftHasNotJoined) {
  Member member;
  member.name = "a";
  member.incarnation = 3;
  EXPECT_EQ(ReasonName(CheckIncarnation(&member, "a", 4)), "WORKER_NOT_JOINED");
  EXPECT_EQ(ReasonName(CheckIncarnation(nullptr, "a", 3)), "WORKER_NOT_JOINED");
  member.left = true;
  const absl::Status left = CheckIncarnation(&member, "a", 3);
  EXPECT_EQ(ReasonName(left), "WORKER_NOT_JOINED");
  EXPECT_EQ(left.message(), "worker \"a\" has not joined as incarnation 3");
  EXPECT_EQ(ReasonName(LeftError("a")), "WORKER_NOT_JOINED");
  EXPECT_EQ(LeftError("a").message(), "worker \"a\" has left");
}

TEST(IdentityTest, ANonceIsKeptAsANumberThatIsNeverThatOfNone) {
  EXPECT_EQ(NonceDigest(""), 0u);
  EXPECT_EQ(NonceDigest("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_NE(NonceDigest("b"), NonceDigest("a"));
}

TEST(IdentityTest, AnotherAttemptOfTheJoinThatMadeAMemberIsARepeat) {
  Member member;
  member.name = "a";
  member.incarnation = 3;
  member.nonce = 30;
  member.replaced_nonce = 20;
  EXPECT_TRUE(IsRepeat(member, {"a", 4, {Role::kGradient}, 30}).value());
  EXPECT_FALSE(IsRepeat(member, {"a", 4, {Role::kGradient}, 40}).value());
  EXPECT_FALSE(IsRepeat(member, {"a", 4}).value());
  EXPECT_FALSE(IsRepeat(Member(), {"a", 4}).value());  // neither has a nonce
  const absl::Status other_roles = IsRepeat(member, {"a", 4, {Role::kStatistics}, 30}).status();
  EXPECT_EQ(ReasonName(other_roles), "FIELD_OUT_OF_RANGE");
  EXPECT_EQ(FieldName(other_roles), "nonce");
  EXPECT_EQ(other_roles.message(),
            "nonce was used before, by a join of worker \"a\" with other roles");
}

TEST(IdentityTest, AnAttemptOfAProcessThatWasReplacedIsFenced) {
  Member member;
  member.name = "a";
  member.incarnation = 3;
  member.replaced_nonce = 20;
  const absl::Status fenced = IsRepeat(member, {"a", 4, {Role::kGradient}, 20}).status();
  EXPECT_EQ(ReasonName(fenced), "INCARNATION_FENCED");
  EXPECT_EQ(fenced.message(),
            "the process of worker \"a\" that joins with this nonce was replaced by incarnation 3");
  EXPECT_EQ(ReplacedNonce(member), 20u);  // the member itself had none
  member.nonce = 30;
  EXPECT_EQ(ReplacedNonce(member), 30u);
}

TEST(IdentityTest, NoJoinRepeatsThatOfAMemberThatLeft) {
  Member member;
  member.nonce = 30;
  member.replaced_nonce = 20;
  member.left = true;
  EXPECT_FALSE(IsRepeat(member, {"a", 4, {Role::kGradient}, 30}).value());
  EXPECT_FALSE(IsRepeat(member, {"a", 4, {Role::kGradient}, 20}).value());
  EXPECT_EQ(ReplacedNonce(member), 0u);
}

TEST(IdentityTest, RoomIsMadeOnlyInAFullTableAndOnlyForANewMember) {
  Table table;
  Add(table, "a", false, 1);
  Add(table, "b", true, 2);
  EXPECT_THAT(Dropped(table, "c", 3), IsEmpty());
  EXPECT_THAT(Dropped(table, "b", 2), IsEmpty());
  EXPECT_THAT(Dropped(table, "c", 2), ElementsAre("a"));
}

TEST(IdentityTest, TheMemberThatExpiredLongestAgoMakesRoom) {
  Table table;
  Add(table, "d", false, 9);
  Add(table, "c", false, 5);
  Add(table, "b", false, 5);
  Add(table, "a", true, 1);
  EXPECT_THAT(Dropped(table, "new", 4), ElementsAre("b"));
  EXPECT_THAT(Dropped(table, "new", 3), ElementsAre("c"));
}

TEST(IdentityTest, LiveMembersKeepTheirPlaces) {
  Table table;
  Add(table, "a", true, 1);
  const absl::Status status = MakeRoom(table, "b", 1, [](uint32_t) { FAIL(); });
  EXPECT_EQ(ReasonName(status), "TOO_MANY_WORKERS");
  EXPECT_EQ(status.message(), "the session has 1 workers, allowed: 1");
}

TEST(IdentityTest, AMemberThatLeftTakesNoPlaceAndComesBackAsANewOne) {
  Table table;
  table.KeepPlace(Add(table, "a", false, 1));
  Add(table, "b", true, 1);
  EXPECT_THAT(Dropped(table, "c", 2), IsEmpty());
  Add(table, "c", false, 8);
  EXPECT_THAT(Dropped(table, "a", 2), ElementsAre("c"));
}

}  // namespace
}  // namespace talweg::core
