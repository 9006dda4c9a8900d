// SPDX-License-Identifier: Apache-2.0
//
// How a step or a pull goes over the wire.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "talweg/v1/section.pb.h"
#include "talweg/v1/session_service.pb.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg {

// Told, from the calling thread, how many bytes of numbers have gone either way, and how many there
// are. Falls back where an attempt starts over.
using ProgressCallback = std::function<void(uint64_t done_bytes, uint64_t total_bytes)>;

struct JoinOptions {
  std::vector<v1::Role> roles;  // each once; empty: ROLE_GRADIENT
};

struct StepOptions {
  // What comes back: POINT_PARAMETERS, or POINT_LOOKAHEAD, where the next gradient is to be taken
  // (with most methods the same).
  v1::Point point = v1::POINT_PARAMETERS;
  // How the numbers travel. To a half they are rounded to nearest even; a gradient beyond 65504
  // becomes an infinity in float16, which the server refuses.
  v1::Dtype gradient_dtype = v1::DTYPE_FLOAT32;
  v1::Dtype reply_dtype = v1::DTYPE_FLOAT32;
  // Of the contribution in its round's mean, such as the number of samples: finite, > 0. Unset: 1.
  // The server refuses one where the reduction takes none.
  std::optional<float> weight;
  // The gradient is none: it is what steps of the worker's own added to the parameters of version()
  // (local SGD, federated averaging).
  bool difference = false;
  // The version that the gradient was taken at, at most the current one. Unset: the session's
  // version(), that of the parameters that came last.
  std::optional<uint64_t> base_version;
  // Do not wait for other workers: the verdict is VERDICT_PENDING where the contribution waits, and
  // ResumeStep() asks what became of it.
  bool return_pending = false;
  bool checksums = false;     // CRC32C both ways; a step with them goes over a stream at any size
  ProgressCallback progress;  // unset: nobody is told
};

// What the numbers of such a contribution are.
inline v1::SectionKind KindOf(const StepOptions& options) {
  return options.difference ? v1::SECTION_KIND_DIFFERENCE : v1::SECTION_KIND_GRADIENT;
}

struct PullOptions {
  v1::Point point = v1::POINT_PARAMETERS;  // or POINT_LOOKAHEAD, POINT_AVERAGE
  v1::Dtype dtype = v1::DTYPE_FLOAT32;     // how the numbers travel
  // Wait until the session is at this version or a later one, as long as
  // RetryOptions::round_timeout says. 0: the current one at once.
  uint64_t min_version = 0;
  bool checksums = false;     // a message that does not fit its CRC32C is pulled again
  ProgressCallback progress;  // unset: nobody is told
};

}  // namespace talweg
