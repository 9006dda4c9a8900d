// SPDX-License-Identifier: Apache-2.0
//
// The contributions of a worker that errs or means harm: each begins with nothing wrong about it
// and is then bent in any of its fields. run_contributions.h says what must hold of the code that
// takes them. For fuzz tests only.
#pragma once

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "talweg/v1/training_service.pb.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/session_model.h"

namespace talweg::testing {

// Reads `message` from bytes of any kind. Logs nothing, also if the bytes are no message.
bool ParseQuietly(absl::string_view bytes, google::protobuf::Message& message);

// Adds a field that `message` does not know, of any wire type.
void AddUnknownField(ByteSource& source, google::protobuf::Message& message);

// Bends up to three fields of the header and of the reply options.
void BendHeader(ByteSource& source, const SessionModel& model, v1::ContributionHeader& header,
                v1::ReplyOptions& reply);

// The contribution that the model's worker would send next or, at times, its last one once more. It
// is mostly bent: in its header, its options, its sections, or its bytes as they stand on the wire.
v1::StepRequest HostileStep(ByteSource& source, const SessionModel& model);

}  // namespace talweg::testing
