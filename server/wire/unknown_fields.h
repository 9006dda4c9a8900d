// SPDX-License-Identifier: Apache-2.0
//
// A field that a newer client sent and this server does not know is an error and never ignored: a
// hyper-parameter that silently does nothing costs a training run.
#pragma once

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace talweg::server {

// FIELD_UNKNOWN, naming the first unknown field's place and number, anywhere in `message`.
absl::Status CheckNoUnknownFields(const google::protobuf::Message& message);

}  // namespace talweg::server
