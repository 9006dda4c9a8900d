// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/door.h"

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/test_support.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const CallFacts kFacts = {.method = "Service/Method",
                          .peer = "here",
                          .metadata = {{"authorization", "Bearer x"}, {"authorization", "second"}}};

// Writes down what it is told, and does as it was bidden.
class Keeper final : public Doorkeeper {
 public:
  absl::Status Admit(const CallFacts& call) override {
    told.push_back(absl::StrCat("admit ", call.method, " of ", call.peer));
    return refusal;
  }
  bool MaySee(const CallFacts&, const SessionIdentity& session) override {
    return hidden.count(session.session_id) == 0;
  }
  void SessionCreated(const CallFacts&, const SessionIdentity& session,
                      uint64_t num_elements) override {
    told.push_back(absl::StrCat("created ", session.session_id, " of ", num_elements));
  }
  void SessionDeleted(const CallFacts&, const SessionIdentity& session) override {
    told.push_back(absl::StrCat("deleted ", session.session_id));
  }
  void Ended(const CallFacts& call, const CallEnd& how) override {
    told.push_back(absl::StrCat("ended ", call.method));
    end = how;
  }

  std::vector<std::string> told;
  absl::Status refusal;
  std::set<std::string> hidden;
  std::optional<CallEnd> end;
};

class DoorTest : public ::testing::Test {
 protected:
  std::shared_ptr<SessionHost> Insert(const std::string& session_id) {
    auto host =
        std::make_shared<SessionHost>(SessionIdentity{session_id, "", 0, 1, absl::UnixEpoch()},
                                      TestConfig(4), MemoryBudget::Reservation(), EnvOf(pool_));
    EXPECT_TRUE(table_.Insert(host).ok());
    return host;
  }
  static v1::GetSessionRequest Unknown() {
    v1::GetSessionRequest request;
    request.GetReflection()->MutableUnknownFields(&request)->AddVarint(99, 1);
    return request;
  }

  ComputePool pool_{1};
  SessionTable table_{10};
  DrainGate gate_;
  Keeper first_;
  Keeper second_;
  const Door door_{table_, gate_, {&first_, &second_}};
};

TEST_F(DoorTest, ACallIsToldAtItsBeginningAndAtItsEnd) {
  {
    Call call(door_, kFacts);
    EXPECT_TRUE(call.let_in().ok());
    EXPECT_THAT(first_.told, ElementsAre("admit Service/Method of here"));
    call.Decide(absl::OkStatus());
    EXPECT_FALSE(first_.end.has_value());  // what it was decided to be is not yet over
  }
  for (const Keeper* keeper : {&first_, &second_}) {
    EXPECT_THAT(keeper->told, ElementsAre("admit Service/Method of here", "ended Service/Method"));
    EXPECT_TRUE(keeper->end->status.ok());
    EXPECT_GE(keeper->end->elapsed, absl::ZeroDuration());
    EXPECT_EQ(keeper->end->session_id, "");
  }
}

TEST_F(DoorTest, AnEndIsToldOnceAndTheFirstDecisionCounts) {
  {
    Call call(door_, kFacts);
    call.Decide(core::MakeError(core::Reason::kSessionDeleted, "first"));
    call.Decide(absl::CancelledError("second"));
    call.Over();
    EXPECT_EQ(core::ReasonName(first_.end->status), "SESSION_DELETED");
    call.Decide(absl::OkStatus());
    call.Over();
  }
  EXPECT_THAT(first_.told, ElementsAre("admit Service/Method of here", "ended Service/Method"));
}

TEST_F(DoorTest, ACallThatNobodyDecidedOnWasCancelled) {
  { const Call call(door_, kFacts); }
  EXPECT_TRUE(absl::IsCancelled(first_.end->status));
}

TEST_F(DoorTest, ACallWhoseClientWentBeforeItsEndWasCancelled) {
  Call call(door_, kFacts);
  call.Decide(core::MakeError(core::Reason::kSessionDeleted, "which nobody hears"));
  call.Over(/*client_has_gone=*/true);
  EXPECT_TRUE(absl::IsCancelled(first_.end->status));
  EXPECT_EQ(core::ReasonName(first_.end->status), "");
}

TEST_F(DoorTest, WhatOneDoorkeeperRefusesTheNextIsNotAsked) {
  first_.refusal = core::MakeError(core::Reason::kMemoryQuota, "too many calls");
  {
    Call call(door_, kFacts);
    EXPECT_EQ(core::ReasonName(call.let_in()), "MEMORY_QUOTA");
    // It comes before all else.
    gate_.Close();
    EXPECT_EQ(core::ReasonName(call.Admit(Unknown())), "MEMORY_QUOTA");
    EXPECT_EQ(core::ReasonName(call.Enter(Unknown(), "?").status()), "MEMORY_QUOTA");
    call.Decide(call.let_in());
  }
  EXPECT_THAT(first_.told, ElementsAre("admit Service/Method of here"));
  EXPECT_THAT(second_.told, IsEmpty());
}

TEST_F(DoorTest, ADoorkeeperHearsHowACallEndedThatALaterOneRefused) {
  second_.refusal = core::MakeError(core::Reason::kMemoryQuota, "too many calls");
  {
    Call call(door_, kFacts);
    call.Decide(call.let_in());
  }
  EXPECT_EQ(core::ReasonName(first_.end->status), "MEMORY_QUOTA");
  EXPECT_FALSE(second_.end.has_value());
}

TEST_F(DoorTest, DrainingComesBeforeUnknownFieldsAndTheseBeforeTheSession) {
  Call call(door_, kFacts);
  EXPECT_EQ(core::ReasonName(call.Enter(v1::GetSessionRequest(), "nobody").status()),
            "SESSION_NOT_FOUND");
  EXPECT_EQ(core::ReasonName(call.Enter(v1::GetSessionRequest(), "").status()), "FIELD_REQUIRED");
  EXPECT_EQ(core::ReasonName(call.Enter(Unknown(), "").status()), "FIELD_UNKNOWN");
  gate_.Close();
  EXPECT_EQ(core::ReasonName(call.Enter(Unknown(), "").status()), "DRAINING");
}

TEST_F(DoorTest, BytesAreCounted) {
  v1::GetSessionRequest request;
  request.set_session_id("mlp");
  {
    Call call(door_, kFacts);
    EXPECT_TRUE(call.Admit(request).ok());
    call.CountIn(3);
    call.CountOut(5);
    call.CountOut(6);
  }
  EXPECT_EQ(first_.end->bytes_in, request.ByteSizeLong() + 3);
  EXPECT_EQ(first_.end->bytes_out, 11u);
}

TEST_F(DoorTest, TheEndNamesTheSession) {
  const auto host = Insert("mlp");
  {
    Call call(door_, kFacts);
    EXPECT_EQ(call.Enter(v1::GetSessionRequest(), "mlp").value(), host);
  }
  EXPECT_EQ(first_.end->session_id, "mlp");
  { Call(door_, kFacts).Find("nobody").IgnoreError(); }
  EXPECT_EQ(first_.end->session_id, "nobody");
}

TEST_F(DoorTest, AHiddenSessionIsAsIfItWereNotThere) {
  Insert("a");
  Insert("b");
  second_.hidden = {"b"};
  Call call(door_, kFacts);
  EXPECT_TRUE(call.Find("a").ok());
  const absl::Status hidden = call.Find("b").status();
  second_.hidden = {};
  EXPECT_TRUE(call.Find("b").ok());
  EXPECT_TRUE(table_.Delete(*table_.Find("b"), 0).ok());
  EXPECT_EQ(hidden, call.Find("b").status());  // the same text too
}

TEST_F(DoorTest, AListGoesPastWhatIsHidden) {
  std::map<std::string, std::shared_ptr<SessionHost>> hosts;
  for (const std::string id : {"a", "b", "c", "d", "e", "f"}) hosts[id] = Insert(id);
  Call call(door_, kFacts);
  EXPECT_THAT(call.List("", 2), ElementsAre(hosts["a"], hosts["b"]));
  second_.hidden = {"a", "b", "d"};
  EXPECT_THAT(call.List("", 2), ElementsAre(hosts["c"], hosts["e"]));
  EXPECT_THAT(call.List("c", 10), ElementsAre(hosts["e"], hosts["f"]));
  EXPECT_THAT(call.List("f", 10), IsEmpty());
}

TEST_F(DoorTest, SessionsThatComeAndGoAreTold) {
  const auto host = Insert("mlp");
  Call call(door_, kFacts);
  call.SessionCreated(*host);
  call.SessionDeleted(*host);
  EXPECT_THAT(second_.told,
              ElementsAre("admit Service/Method of here", "created mlp of 4", "deleted mlp"));
}

TEST(CallFactsTest, MetadataAreFoundByName) {
  EXPECT_EQ(kFacts.Metadata("authorization"), "Bearer x");
  EXPECT_EQ(kFacts.Metadata("user-agent"), "");
}

}  // namespace
}  // namespace talweg::server
