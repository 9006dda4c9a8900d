// SPDX-License-Identifier: Apache-2.0
//
// The frames of a client that errs or means harm, and what must hold of the code that takes them.
// For fuzz tests only.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "talweg/v1/training_service.pb.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/session_model.h"

namespace talweg::testing {

// The frame that a friendly client would send next, often bent. `sent` is the part of the next
// contribution of the model's worker that was sent already; `open` says whether the header was
// sent. Some frames are parsed from raw bytes.
v1::StreamStepRequest HostileFrame(ByteSource& source, const SessionModel& model, bool open,
                                   const SentVector& sent);

// Takes frames made of `bytes` as a stream does, without a socket. Returns what did not hold, or ""
// if all of this did:
//   - a frame that is wrong is refused for what is wrong with it, and changes nothing;
//   - what is taken are the elements that are due;
//   - what is committed is whole, and has the bits, sums and digest that the same numbers have in
//   one
//     piece.
std::string RunFrames(absl::string_view bytes, Seen* seen = nullptr);

// The same for conversions between dtypes, at any alignment:
//   - a conversion to float32 is exact;
//   - a conversion from float32 gives the nearest number, and the even one if two are as near;
//   - a number that is converted there and back is unchanged;
//   - only the elements are read and written;
//   - sections made of `bytes` are taken or refused.
std::string RunDtypes(absl::string_view bytes);

}  // namespace talweg::testing
