// SPDX-License-Identifier: Apache-2.0
#include "server/wire/status_to_grpc.h"

#include <string>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr size_t kMaxBytes = 2048;

google::rpc::Status DetailsOf(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

// How often a message of type T stands in the details; the first is copied to `found`.
template <class T>
int Find(const grpc::Status& status, T& found) {
  int count = 0;
  const google::rpc::Status details = DetailsOf(status);
  for (const google::protobuf::Any& any : details.details()) {
    if (!any.Is<T>()) continue;
    if (count++ == 0) any.UnpackTo(&found);
  }
  return count;
}

TEST(StatusToGrpcTest, OkCarriesNothing) {
  const grpc::Status status = StatusToGrpc(absl::OkStatus());
  EXPECT_TRUE(status.ok());
  EXPECT_TRUE(status.error_details().empty());
}

TEST(StatusToGrpcTest, EveryReasonKeepsItsNameItsCodeAndTheDomain) {
  ASSERT_FALSE(core::Reasons().empty());
  for (const core::ReasonRow& row : core::Reasons()) {
    const grpc::Status status = StatusToGrpc(MakeError(row.reason, "text", "field"));
    EXPECT_EQ(static_cast<int>(status.error_code()), static_cast<int>(row.code)) << row.name;
    EXPECT_EQ(status.error_message(), "text");
    EXPECT_EQ(DetailsOf(status).code(), static_cast<int>(row.code));
    EXPECT_EQ(DetailsOf(status).message(), "text");
    google::rpc::ErrorInfo info;
    ASSERT_EQ(Find(status, info), 1) << row.name;
    EXPECT_EQ(info.reason(), row.name);
    EXPECT_EQ(info.domain(), "talweg");
  }
}

TEST(StatusToGrpcTest, CodesAreGrpcsOwn) {
  EXPECT_EQ(StatusToGrpc(MakeError(Reason::kFieldUnknown, "")).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(StatusToGrpc(MakeError(Reason::kHistoryChanged, "")).error_code(),
            grpc::StatusCode::ABORTED);
  EXPECT_EQ(StatusToGrpc(MakeError(Reason::kDraining, "")).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(StatusToGrpc(MakeError(Reason::kStateCorrupt, "")).error_code(),
            grpc::StatusCode::DATA_LOSS);
}

TEST(StatusToGrpcTest, MetadataTravelsInErrorInfo) {
  google::rpc::ErrorInfo info;
  ASSERT_EQ(Find(StatusToGrpc(MakeError(Reason::kHistoryChanged, "text", "",
                                        {{"history", "18446744073709551615"}, {"version", "17"}})),
                 info),
            1);
  EXPECT_THAT(info.metadata(),
              UnorderedElementsAre(Pair("history", "18446744073709551615"), Pair("version", "17")));
}

TEST(StatusToGrpcTest, WrongArgumentNamesItsField) {
  const grpc::Status status =
      StatusToGrpc(MakeError(Reason::kFieldOutOfRange, "page_size is 2000", "page_size"));
  google::rpc::BadRequest request;
  ASSERT_EQ(Find(status, request), 1);
  ASSERT_EQ(request.field_violations_size(), 1);
  EXPECT_EQ(request.field_violations(0).field(), "page_size");
  EXPECT_EQ(request.field_violations(0).description(), "page_size is 2000");
}

TEST(StatusToGrpcTest, BrokenPreconditionNamesItsSubject) {
  const grpc::Status status =
      StatusToGrpc(MakeError(Reason::kSequenceTooOld, "text", "header.sequence"));
  google::rpc::PreconditionFailure failure;
  ASSERT_EQ(Find(status, failure), 1);
  ASSERT_EQ(failure.violations_size(), 1);
  EXPECT_EQ(failure.violations(0).type(), "SEQUENCE_TOO_OLD");
  EXPECT_EQ(failure.violations(0).subject(), "header.sequence");
  google::rpc::BadRequest request;
  EXPECT_EQ(Find(status, request), 0);
}

TEST(StatusToGrpcTest, WithoutAFieldNoFieldIsBlamed) {
  const grpc::Status status = StatusToGrpc(MakeError(Reason::kFieldUnknown, "text"));
  google::rpc::BadRequest request;
  EXPECT_EQ(Find(status, request), 0);
}

TEST(StatusToGrpcTest, DrainingSaysWhenToComeBack) {
  google::rpc::RetryInfo retry;
  ASSERT_EQ(Find(StatusToGrpc(MakeError(Reason::kDraining, "text")), retry), 1);
  EXPECT_GT(retry.retry_delay().nanos(), 0);
  EXPECT_EQ(Find(StatusToGrpc(MakeError(Reason::kHistoryChanged, "text")), retry), 0);
}

TEST(StatusToGrpcTest, ExhaustedQuotaIsTold) {
  google::rpc::QuotaFailure quota;
  ASSERT_EQ(Find(StatusToGrpc(MakeError(Reason::kMemoryQuota, "asked for 9 bytes")), quota), 1);
  ASSERT_EQ(quota.violations_size(), 1);
  EXPECT_EQ(quota.violations(0).description(), "asked for 9 bytes");
}

TEST(StatusToGrpcTest, ForeignStatusHasNoReason) {
  const grpc::Status status = StatusToGrpc(absl::InternalError("broken"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(status.error_message(), "broken");
  google::rpc::ErrorInfo info;
  EXPECT_EQ(Find(status, info), 0);
}

TEST(StatusToGrpcTest, StaysUnderTwoKibibytesWhateverItIsGiven) {
  const std::string huge(1 << 20, 'x');
  core::ErrorMetadata metadata = {{"history", huge}, {huge, "1"}};
  for (int index = 0; index < 1000; ++index) metadata.emplace_back(std::to_string(index), "value");
  for (const core::ReasonRow& row : core::Reasons()) {
    const grpc::Status status = StatusToGrpc(MakeError(row.reason, huge, huge, metadata));
    EXPECT_LT(status.error_message().size() + status.error_details().size(), kMaxBytes) << row.name;
    google::rpc::ErrorInfo info;
    ASSERT_EQ(Find(status, info), 1);
    EXPECT_EQ(info.reason(), row.name);
    EXPECT_TRUE(info.metadata().contains("history"));
  }
}

TEST(StatusToGrpcTest, OrdinaryMessagesAreNotCut) {
  const std::string message(256, 'm');
  const std::string field(200, 'f');
  const grpc::Status status = StatusToGrpc(MakeError(Reason::kLayoutInvalid, message, field));
  EXPECT_EQ(status.error_message(), message);
  google::rpc::BadRequest request;
  ASSERT_EQ(Find(status, request), 1);
  EXPECT_EQ(request.field_violations(0).field(), field);
}

TEST(StatusToGrpcTest, BytesThatAreNotTextBecomeQuestionMarks) {
  const std::string raw("a\xff\xc3z\n\0b\x7f", 8);
  const grpc::Status status =
      StatusToGrpc(MakeError(Reason::kFieldOutOfRange, raw, raw, {{"history", "\xff"}}));
  EXPECT_EQ(status.error_message(), "a??z??b?");
  google::rpc::BadRequest request;
  ASSERT_EQ(Find(status, request), 1);
  EXPECT_EQ(request.field_violations(0).field(), "a??z??b?");
  google::rpc::ErrorInfo info;
  ASSERT_EQ(Find(status, info), 1);
  EXPECT_THAT(info.metadata(), UnorderedElementsAre(Pair("history", "?")));
}

}  // namespace
}  // namespace talweg::server
