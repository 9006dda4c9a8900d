// SPDX-License-Identifier: Apache-2.0
//
// How a step or a pull goes over the wire.
#pragma once

#include <cstdint>
#include <functional>

#include "talweg/v1/section.pb.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg {

// Told, from the calling thread, how many bytes of numbers have gone either way, and how many there
// are. Falls back where an attempt starts over.
using ProgressCallback = std::function<void(uint64_t done_bytes, uint64_t total_bytes)>;

struct StepOptions {
  // What comes back: POINT_PARAMETERS, or POINT_LOOKAHEAD, where the next gradient is to be taken
  // (with most methods the same).
  v1::Point point = v1::POINT_PARAMETERS;
  // How the numbers travel. To a half they are rounded to nearest even; a gradient beyond 65504
  // becomes an infinity in float16, which the server refuses.
  v1::Dtype gradient_dtype = v1::DTYPE_FLOAT32;
  v1::Dtype reply_dtype = v1::DTYPE_FLOAT32;
  bool checksums = false;     // CRC32C both ways; a step with them goes over a stream at any size
  ProgressCallback progress;  // unset: nobody is told
};

struct PullOptions {
  v1::Point point = v1::POINT_PARAMETERS;  // or POINT_LOOKAHEAD, POINT_AVERAGE
  v1::Dtype dtype = v1::DTYPE_FLOAT32;     // how the numbers travel
  bool checksums = false;                  // a message that does not fit its CRC32C is pulled again
  ProgressCallback progress;               // unset: nobody is told
};

}  // namespace talweg
