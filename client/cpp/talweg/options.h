// SPDX-License-Identifier: Apache-2.0
//
// How a step or a pull goes over the wire.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "client/cpp/talweg/statistics.h"
#include "talweg/v1/section.pb.h"
#include "talweg/v1/session_service.pb.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg {

// Called on the calling thread with the bytes of numbers that have travelled, both ways together,
// and with how many there are. The first number falls back when an attempt starts over.
using ProgressCallback = std::function<void(uint64_t done_bytes, uint64_t total_bytes)>;

struct JoinOptions {
  std::vector<v1::Role> roles;  // each at most once; empty: what trains the session
};

struct StepOptions {
  // What comes back: POINT_PARAMETERS, or POINT_LOOKAHEAD, the point at which the next gradient is
  // to be taken (with most methods both are the same).
  v1::Point point = v1::POINT_PARAMETERS;
  // How the numbers travel. On the way to 16 bits they are rounded to nearest, ties to even. A
  // gradient beyond 65504 becomes an infinity in float16, which the server refuses.
  v1::Dtype gradient_dtype = v1::DTYPE_FLOAT32;
  v1::Dtype reply_dtype = v1::DTYPE_FLOAT32;
  // The weight of the contribution in its round's mean, such as the number of samples: finite, > 0.
  // Unset: 1. The server refuses a weight if the session's reduction takes none.
  std::optional<float> weight;
  // The version is made with this contribution, however many others are still to come. In the mode
  // SYNCHRONOUS the server refuses it, unless the session's policy says workers_may_close.
  bool closes_round = false;
  // The worker has no gradient for the coming version, and no round waits for it: Step takes an
  // empty gradient, no losses and no weight, and still brings the next point. The verdict is
  // VERDICT_ABSTAINED.
  bool abstain = false;
  // True if the numbers are no gradient, but what the worker's own steps added to the parameters of
  // version() (local SGD, federated averaging).
  bool difference = false;
  // The version that the gradient was taken at, at most the current one. Unset: the session's
  // version(), that of the parameters that came last.
  std::optional<uint64_t> base_version;
  // Do not wait for other workers: if the contribution waits for them, the verdict is
  // VERDICT_PENDING, and ResumeStep() asks what became of it.
  bool return_pending = false;
  // Statistics beside the gradient, borrowed until the answer has come; null: there are none.
  const Statistics* statistics = nullptr;
  // How the loss of a batch was changed by an earlier step: kfac adapts its damping by it.
  std::optional<v1::LossChange> loss_change;
  bool checksums = false;     // CRC32C both ways; such a step goes over a stream at any size
  ProgressCallback progress;  // unset: none is called
};

// What the numbers of a contribution with these options are.
inline v1::SectionKind KindOf(const StepOptions& options) {
  return options.difference ? v1::SECTION_KIND_DIFFERENCE : v1::SECTION_KIND_GRADIENT;
}

struct UploadOptions {
  // How the values travel. The session begins with what is left of them: on the way to 16 bits they
  // are rounded to nearest, ties to even, and beyond 65504 float16 has infinities, which the server
  // refuses.
  v1::Dtype dtype = v1::DTYPE_FLOAT32;
  ProgressCallback progress;  // unset: none is called
};

struct PullOptions {
  v1::Point point = v1::POINT_PARAMETERS;  // or POINT_LOOKAHEAD, POINT_AVERAGE
  v1::Dtype dtype = v1::DTYPE_FLOAT32;     // how the numbers travel
  // Wait until the session is at this version or a later one, at most as long as
  // RetryOptions::round_timeout says. 0: take the current version at once.
  uint64_t min_version = 0;
  // This version and no other: fails with VERSION_GONE if the server has it no more. A worker that
  // searches needs that of its lease; if it is gone, others have closed the generation: ask again.
  std::optional<uint64_t> version = std::nullopt;
  bool checksums = false;     // pull a message again if it does not fit its CRC32C
  ProgressCallback progress;  // unset: none is called
};

}  // namespace talweg
