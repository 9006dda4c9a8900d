// SPDX-License-Identifier: Apache-2.0
//
// Contributions of a worker that errs or means harm: one with nothing wrong about it, bent in any
// of its fields, and what must hold of whoever takes it.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "talweg/v1/training_service.pb.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/session_model.h"

namespace talweg::testing {

// Reads a message from bytes of any kind, without a word in the log where they are none.
bool ParseQuietly(absl::string_view bytes, google::protobuf::Message& message);

// Adds a field that `message` does not know, of any wire type.
void AddUnknownField(ByteSource& source, google::protobuf::Message& message);

// Bends none to three of the header's and the options' fields.
void BendHeader(ByteSource& source, const SessionModel& model, v1::ContributionHeader& header,
                v1::ReplyOptions& reply);

// What the model's worker would send next, or, at times, once more, and mostly bent: in its header,
// its options, its sections, or its bytes as they stand on the wire.
v1::StepRequest HostileStep(ByteSource& source, const SessionModel& model);

// Takes contributions made of `bytes` as Step does, with its checks, its codec and a session of its
// own, but without a service, and returns what did not hold of it; "" where all did:
//   what is wrong is refused, for what is wrong with it, and leaves the state's checksum as it was;
//   a repeat gets its answer again and changes nothing; everything else is judged and answered as
//   the model says, bit for bit. At the end a contribution without fault is applied.
std::string RunContributions(absl::string_view bytes, Seen* seen = nullptr);

}  // namespace talweg::testing
