// SPDX-License-Identifier: Apache-2.0
//
// A call that pulls a vector: what it asks for, and the messages of 1 MiB in which it is answered.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "core/base/dtype.h"
#include "server/calls/session_calls.h"
#include "server/wire/outgoing_vector.h"
#include "server/wire/point_from_proto.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::server {

// What a Pull asks of its session, except for the history.
struct PullSpec {
  PointOnWire wanted;
  core::Dtype dtype = core::Dtype::kFloat32;
  bool checksums = false;
  uint64_t begin_element = 0;
  uint64_t min_version = 0;         // The call waits until there is such a version.
  std::optional<uint64_t> version;  // No other version will do; then min_version is 0.
};

// Fails with FIELD_OUT_OF_RANGE, naming the field, if the request contradicts itself or does not
// fit a layout of `num_elements`.
absl::StatusOr<PullSpec> PullFromProto(const v1::PullRequest& request, uint64_t num_elements);

// Thread-compatible. Holds the version that the messages are made of.
class PullMessages {
 public:
  PullMessages() = default;
  // The elements of `point` from spec.begin_element on.
  PullMessages(const PointOutcome& point, uint64_t history, const PullSpec& spec);

  uint64_t version() const { return vector_.version(); }

  // Makes the next message in `message`, whose memory is used again. Returns whether it was the
  // last; there is at least one.
  bool MakeNext(v1::PullResponse& message);

 private:
  OutgoingVector vector_;
  uint64_t history_ = 0;
  double next_learning_rate_ = 0;
  bool checksums_ = false;
  uint64_t next_element_ = 0;
};

}  // namespace talweg::server
