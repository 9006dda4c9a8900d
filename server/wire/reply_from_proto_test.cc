// SPDX-License-Identifier: Apache-2.0
#include "server/wire/reply_from_proto.h"

#include <string>

#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

void ExpectRefused(const absl::StatusOr<ReplySpec>& spec, const std::string& field) {
  EXPECT_EQ(core::ReasonName(spec.status()), "FIELD_OUT_OF_RANGE") << spec.status();
  EXPECT_EQ(core::FieldName(spec.status()), field) << spec.status();
}

TEST(ReplyFromProtoTest, WhatIsLeftOutTakesItsDefault) {
  const ReplySpec spec = ReplyFromProto({}).value();
  EXPECT_EQ(spec.data, ReplySpec::Data::kParameters);
  EXPECT_EQ(spec.dtype, core::Dtype::kFloat32);
  EXPECT_EQ(spec.max_bytes, 4194304u);
  EXPECT_FALSE(spec.checksums);
  EXPECT_TRUE(spec.may_wait);
}

TEST(ReplyFromProtoTest, EveryFieldIsRead) {
  v1::ReplyOptions reply;
  reply.set_dtype(v1::DTYPE_BFLOAT16);
  reply.set_max_reply_bytes(5);
  reply.set_checksums(true);
  reply.set_return_pending(true);
  const ReplySpec spec = ReplyFromProto(reply).value();
  EXPECT_EQ(spec.dtype, core::Dtype::kBfloat16);
  EXPECT_EQ(spec.max_bytes, 5u);
  EXPECT_TRUE(spec.checksums);
  EXPECT_FALSE(spec.may_wait);
  const auto data_of = [&reply](v1::ReplyData data) {
    reply.set_data(data);
    return ReplyFromProto(reply)->data;
  };
  EXPECT_EQ(data_of(v1::REPLY_DATA_NONE), ReplySpec::Data::kNone);
  EXPECT_EQ(data_of(v1::REPLY_DATA_PARAMETERS), ReplySpec::Data::kParameters);
  EXPECT_EQ(data_of(v1::REPLY_DATA_UPDATE), ReplySpec::Data::kUpdate);
  EXPECT_EQ(data_of(v1::REPLY_DATA_LOOKAHEAD), ReplySpec::Data::kLookahead);
}

TEST(ReplyFromProtoTest, UnknownValuesAreRefused) {
  v1::ReplyOptions reply;
  reply.set_dtype(static_cast<v1::Dtype>(9));
  ExpectRefused(ReplyFromProto(reply), "reply.dtype");
  reply.set_data(static_cast<v1::ReplyData>(77));
  ExpectRefused(ReplyFromProto(reply), "reply.data");  // the first of the two
}

TEST(ReplyFromProtoTest, EachShapeRefusesWhatBelongsToTheOther) {
  v1::ReplyOptions reply;
  reply.set_checksums(true);
  ExpectRefused(MessageReplyFromProto(reply), "reply.checksums");
  EXPECT_TRUE(StreamReplyFromProto(reply).ok());
  reply.clear_checksums();
  reply.set_max_reply_bytes(1);
  ExpectRefused(StreamReplyFromProto(reply), "reply.max_reply_bytes");
  EXPECT_EQ(MessageReplyFromProto(reply)->max_bytes, 1u);
}

}  // namespace
}  // namespace talweg::server
