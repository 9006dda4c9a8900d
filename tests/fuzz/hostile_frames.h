// SPDX-License-Identifier: Apache-2.0
//
// Frames of a client that errs or means harm, and what must hold of whoever takes them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "talweg/v1/training_service.pb.h"
#include "tests/fuzz/byte_source.h"

namespace talweg::testing {

// The frame that a friendly client would send next, often bent: `begin` elements of `num_elements`
// are sent; `open` says whether a header was. A header is left without its fields. Some frames are
// parsed from raw bytes.
v1::StreamStepRequest HostileFrame(ByteSource& source, bool open, uint64_t begin,
                                   uint64_t num_elements);

// Takes frames made of `bytes` as a stream does, without a socket, and returns what did not hold of
// it; "" where all did:
//   an error has a reason of this call and changes nothing; what is taken is the elements that are
//   due; what is committed is whole, and the bits, sums and digest of the same numbers in one
//   piece.
std::string RunFrames(absl::string_view bytes);

// The same for conversions between dtypes, of any alignment:
//   to float32 is exact; from float32 is the nearest, ties to even; there and back is the identity;
//   nothing but the elements is read or written; sections made of `bytes` are taken or refused.
std::string RunDtypes(absl::string_view bytes);

}  // namespace talweg::testing
