// SPDX-License-Identifier: Apache-2.0
#include "server/wire/reply_from_proto.h"

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "server/wire/section_codec.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

absl::StatusOr<ReplySpec::Data> DataFromProto(v1::ReplyData data) {
  switch (data) {
    case v1::REPLY_DATA_NONE:
      return ReplySpec::Data::kNone;
    case v1::REPLY_DATA_UNSPECIFIED:
    case v1::REPLY_DATA_PARAMETERS:
      return ReplySpec::Data::kParameters;
    case v1::REPLY_DATA_UPDATE:
      return ReplySpec::Data::kUpdate;
    case v1::REPLY_DATA_LOOKAHEAD:
      return ReplySpec::Data::kLookahead;
    default:
      return MakeError(Reason::kFieldOutOfRange,
                       absl::StrCat("reply.data has the unknown value ", static_cast<int>(data)),
                       "reply.data");
  }
}

}  // namespace

absl::StatusOr<ReplySpec> ReplyFromProto(const v1::ReplyOptions& reply) {
  ReplySpec spec;
  TALWEG_ASSIGN_OR_RETURN(spec.data, DataFromProto(reply.data()));
  TALWEG_ASSIGN_OR_RETURN(spec.dtype, DtypeFromProto(reply.dtype(), "reply.dtype"));
  if (reply.max_reply_bytes() != 0) spec.max_bytes = reply.max_reply_bytes();
  spec.checksums = reply.checksums();
  spec.may_wait = !reply.return_pending();
  return spec;
}

absl::StatusOr<ReplySpec> MessageReplyFromProto(const v1::ReplyOptions& reply) {
  TALWEG_ASSIGN_OR_RETURN(const ReplySpec spec, ReplyFromProto(reply));
  if (spec.checksums) {
    return MakeError(Reason::kFieldOutOfRange, "checksums are of StreamStep: a message has none",
                     "reply.checksums");
  }
  return spec;
}

absl::StatusOr<ReplySpec> StreamReplyFromProto(const v1::ReplyOptions& reply) {
  TALWEG_ASSIGN_OR_RETURN(const ReplySpec spec, ReplyFromProto(reply));
  if (reply.max_reply_bytes() != 0) {
    return MakeError(Reason::kFieldOutOfRange,
                     "max_reply_bytes is of Step: the reply of a stream comes in chunks",
                     "reply.max_reply_bytes");
  }
  return spec;
}

}  // namespace talweg::server
