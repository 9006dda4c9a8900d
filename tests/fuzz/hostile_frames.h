// SPDX-License-Identifier: Apache-2.0
//
// Frames of a client that errs or means harm, and what must hold of whoever takes them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "talweg/v1/training_service.pb.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/session_model.h"

namespace talweg::testing {

// The frame that a friendly client would send next, often bent: `sent` is sent of the contribution
// that the model's worker sends next; `open` says whether its header was. Some frames are parsed
// from raw bytes.
v1::StreamStepRequest HostileFrame(ByteSource& source, const SessionModel& model, bool open,
                                   const SentVector& sent);

// Takes frames made of `bytes` as a stream does, without a socket, and returns what did not hold of
// it; "" where all did:
//   what is wrong is refused, for what is wrong with it, and changes nothing; what is taken is the
//   elements that are due; what is committed is whole, and the bits, sums and digest of the same
//   numbers in one piece.
std::string RunFrames(absl::string_view bytes, Seen* seen = nullptr);

// The same for conversions between dtypes, of any alignment:
//   to float32 is exact; from float32 is the nearest, ties to even; there and back is the identity;
//   nothing but the elements is read or written; sections made of `bytes` are taken or refused.
std::string RunDtypes(absl::string_view bytes);

}  // namespace talweg::testing
