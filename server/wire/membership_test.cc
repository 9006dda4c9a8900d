// SPDX-License-Identifier: Apache-2.0
#include "server/wire/membership.h"

#include <vector>

#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

void ExpectError(const absl::Status& status, const std::string& reason, const std::string& field) {
  EXPECT_EQ(core::ReasonName(status), reason) << status;
  EXPECT_EQ(core::FieldName(status), field) << status;
}

absl::StatusOr<core::Roles> RolesOf(const std::vector<int>& roles) {
  v1::JoinRequest request;
  request.set_worker("a");
  for (const int role : roles) request.add_roles(static_cast<v1::Role>(role));
  const absl::StatusOr<core::Join> join = JoinFromProto(request);
  if (!join.ok()) return join.status();
  return join->roles;
}

TEST(MembershipTest, AMemberNamesItsWorkerItsHistoryAndItsIncarnation) {
  EXPECT_TRUE(CheckMember("a", 1, 1).ok());
  ExpectError(CheckMember("", 1, 1), "FIELD_REQUIRED", "worker");
  ExpectError(CheckMember("no spaces", 1, 1), "FIELD_OUT_OF_RANGE", "worker");
  ExpectError(CheckMember("a", 0, 1), "FIELD_REQUIRED", "history");
  ExpectError(CheckMember("a", 1, 0), "FIELD_REQUIRED", "incarnation");
}

template <class Request>
Request MemberRequest() {
  Request request;
  request.set_session_id("s");
  request.set_worker("a");
  request.set_history(7);
  request.set_incarnation(3);
  return request;
}

TEST(MembershipTest, AHeartbeatAndALeaveSayWhoseTheyAre) {
  const auto heartbeat = HeartbeatFromProto(MemberRequest<v1::HeartbeatRequest>());
  ASSERT_TRUE(heartbeat.ok()) << heartbeat.status();
  EXPECT_EQ(heartbeat->history, 7u);
  EXPECT_EQ(heartbeat->worker, "a");
  EXPECT_EQ(heartbeat->incarnation, 3u);
  const auto leave = LeaveFromProto(MemberRequest<v1::LeaveRequest>());
  ASSERT_TRUE(leave.ok()) << leave.status();
  EXPECT_EQ(leave->history, 7u);
  EXPECT_EQ(leave->worker, "a");
  EXPECT_EQ(leave->incarnation, 3u);
}

TEST(MembershipTest, AHeartbeatAndALeaveOfNobodyAreRefused) {
  auto heartbeat = MemberRequest<v1::HeartbeatRequest>();
  heartbeat.clear_incarnation();
  ExpectError(HeartbeatFromProto(heartbeat).status(), "FIELD_REQUIRED", "incarnation");
  auto leave = MemberRequest<v1::LeaveRequest>();
  leave.clear_history();
  ExpectError(LeaveFromProto(leave).status(), "FIELD_REQUIRED", "history");
}

TEST(MembershipTest, RolesAreASet) {
  using core::Role;
  EXPECT_EQ(RolesOf({}).value(), core::Roles());  // The session says which.
  EXPECT_EQ(RolesOf({v1::ROLE_GRADIENT}).value(), core::Roles{Role::kGradient});
  EXPECT_EQ(RolesOf({v1::ROLE_STATISTICS}).value(), core::Roles{Role::kStatistics});
  EXPECT_EQ(RolesOf({v1::ROLE_SEARCH}).value(), core::Roles{Role::kSearch});
  EXPECT_EQ(RolesOf({v1::ROLE_STATISTICS, v1::ROLE_GRADIENT}).value(),
            (core::Roles{Role::kGradient, Role::kStatistics}));
}

TEST(MembershipTest, AJoinSaysItsWorkerAndItsNonce) {
  v1::JoinRequest request;
  ExpectError(JoinFromProto(request).status(), "FIELD_REQUIRED", "worker");
  request.set_worker("a");
  EXPECT_EQ(JoinFromProto(request)->worker, "a");
  EXPECT_EQ(JoinFromProto(request)->nonce, 0u);
  request.set_nonce("one");
  const uint64_t one = JoinFromProto(request)->nonce;
  EXPECT_NE(one, 0u);
  EXPECT_EQ(JoinFromProto(request)->nonce, one);
  request.set_nonce("two");
  EXPECT_NE(JoinFromProto(request)->nonce, one);
  request.set_nonce(std::string(128, 'n'));
  EXPECT_TRUE(JoinFromProto(request).ok());
  request.set_nonce(std::string(129, 'n'));
  const absl::Status too_long = JoinFromProto(request).status();
  ExpectError(too_long, "FIELD_OUT_OF_RANGE", "nonce");
  EXPECT_EQ(too_long.message(), "nonce has 129 bytes, allowed: 0 to 128");
}

TEST(MembershipTest, RolesThatCannotBeAreRefused) {
  ExpectError(RolesOf({v1::ROLE_UNSPECIFIED}).status(), "FIELD_OUT_OF_RANGE", "roles");
  ExpectError(RolesOf({77}).status(), "FIELD_OUT_OF_RANGE", "roles");
  ExpectError(RolesOf({v1::ROLE_GRADIENT, v1::ROLE_GRADIENT}).status(), "FIELD_OUT_OF_RANGE",
              "roles");
}

TEST(MembershipTest, AWorkerIsToldWhatItMustKnow) {
  const JoinOutcome outcome = {
      .history = 7, .version = 5, .incarnation = 3, .lease_seconds = 30, .replies_wait = true};
  v1::JoinResponse joined;
  JoinToProto(outcome, joined);
  EXPECT_EQ(joined.history(), 7u);
  EXPECT_EQ(joined.version(), 5u);
  EXPECT_EQ(joined.incarnation(), 3u);
  EXPECT_EQ(joined.lease_seconds(), 30u);
  EXPECT_TRUE(joined.replies_wait());
  v1::HeartbeatResponse beaten;
  HeartbeatToProto(outcome, beaten);
  EXPECT_EQ(beaten.history(), 7u);
  EXPECT_EQ(beaten.version(), 5u);
  EXPECT_EQ(beaten.lease_seconds(), 30u);
}

}  // namespace
}  // namespace talweg::server
