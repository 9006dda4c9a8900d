// SPDX-License-Identifier: Apache-2.0
//
// What a client wants back for a contribution: read and checked once, here.
#pragma once

#include "absl/status/statusor.h"
#include "server/calls/reply_spec.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::server {

// Reads what both shapes of a step have in common. FIELD_OUT_OF_RANGE, naming the field
// ("reply.dtype").
absl::StatusOr<ReplySpec> ReplyFromProto(const v1::ReplyOptions& reply);

// The same for a reply in one message, which has no checksums.
absl::StatusOr<ReplySpec> MessageReplyFromProto(const v1::ReplyOptions& reply);

// The same for a reply in chunks, whose size has no bound.
absl::StatusOr<ReplySpec> StreamReplyFromProto(const v1::ReplyOptions& reply);

}  // namespace talweg::server
