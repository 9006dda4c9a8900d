// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace talweg {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

std::string Details(const google::protobuf::Message& message) {
  google::rpc::Status status;
  status.add_details()->PackFrom(message);
  return status.SerializeAsString();
}

TEST(StatusTest, KeepsReasonFieldAndMetadataOfTheServer) {
  google::rpc::ErrorInfo info;
  info.set_domain("talweg");
  info.set_reason("HISTORY_CHANGED");
  (*info.mutable_metadata())["history"] = "18446744073709551615";
  (*info.mutable_metadata())["version"] = "17";
  google::rpc::BadRequest bad_request;
  bad_request.add_field_violations()->set_field("header.history");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(1);
  retry.mutable_retry_delay()->set_nanos(500'000'000);
  google::rpc::Status details;
  details.add_details()->PackFrom(info);
  details.add_details()->PackFrom(bad_request);
  details.add_details()->PackFrom(retry);

  const absl::Status status = StatusFromDetails(10, "gone", details.SerializeAsString());
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(status), "HISTORY_CHANGED");
  EXPECT_EQ(FieldOf(status), "header.history");
  EXPECT_EQ(HistoryOf(status), 18446744073709551615u);
  EXPECT_EQ(VersionOf(status), 17u);
  EXPECT_THAT(MetadataOf(status),
              ElementsAre(Pair("history", "18446744073709551615"), Pair("version", "17")));
  EXPECT_EQ(RetryDelayOf(status), absl::Milliseconds(1500));
  EXPECT_EQ(Describe(status), "HISTORY_CHANGED: gone (header.history)");
}

TEST(StatusTest, FieldOfAFailedPreconditionIsItsSubject) {
  google::rpc::PreconditionFailure failure;
  failure.add_violations()->set_subject("session_id");
  EXPECT_EQ(FieldOf(StatusFromDetails(6, "there", Details(failure))), "session_id");
}

TEST(StatusTest, ForeignOrBrokenDetailsGiveNoReason) {
  google::rpc::ErrorInfo foreign;
  foreign.set_domain("example.com");
  foreign.set_reason("RATE_LIMITED");
  const absl::Status status = StatusFromDetails(8, "slow down", Details(foreign));
  EXPECT_EQ(ReasonOf(status), "");
  EXPECT_EQ(Describe(status), "RESOURCE_EXHAUSTED: slow down");
  EXPECT_EQ(ReasonOf(StatusFromDetails(8, "slow down", "\xff\xff not a message")), "");
  EXPECT_EQ(StatusFromDetails(8, "slow down", "").code(), absl::StatusCode::kResourceExhausted);
}

TEST(StatusTest, SaysNothingAboutWhatTheServerDidNotSay) {
  const absl::Status status = absl::UnavailableError("x");
  EXPECT_EQ(FieldOf(status), "");
  EXPECT_EQ(HistoryOf(status), std::nullopt);
  EXPECT_EQ(RetryDelayOf(status), absl::ZeroDuration());
}

TEST(StatusTest, DescribesWithoutACodeWhatNoCallEndedWith) {
  EXPECT_EQ(Describe(absl::NotFoundError("cannot open g.npy")), "cannot open g.npy");
  EXPECT_EQ(Describe(StatusFromDetails(4, "too late", "")), "DEADLINE_EXCEEDED: too late");
}

}  // namespace
}  // namespace talweg
