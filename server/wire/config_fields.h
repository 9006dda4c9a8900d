// SPDX-License-Identifier: Apache-2.0
//
// Copies values between a proto message and a field table, by the names of the fields. Nothing here
// knows any method.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "core/base/field.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace talweg::server {

// Sets every field of `config` that `message` carries, then validates. Fails with FIELD_REQUIRED,
// HYPERPARAMETER_OUT_OF_RANGE or FIELD_OUT_OF_RANGE (an enumeration's unknown value), naming the
// field within the message.
absl::Status ReadFields(const google::protobuf::Message& message, core::Config& config);
// Fails with FIELD_IMMUTABLE, naming the field, if `message` carries another value of a field that
// may not change in a live session than `current` has.
absl::Status CheckFixed(const google::protobuf::Message& message, const core::Config& current);

// Spells out every field of `config` in `message`.
void WriteFields(const core::Config& config, google::protobuf::Message& message);

// The message that the oneof `name` of `message` holds; null if it holds none.
const google::protobuf::FieldDescriptor* OneofCase(const google::protobuf::Message& message,
                                                   const std::string& name);

}  // namespace talweg::server
