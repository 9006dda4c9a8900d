// SPDX-License-Identifier: Apache-2.0
//
// What a stream sends, as frames. First comes the grant. The answer to a contribution is its data,
// in chunks of 1 MiB, and then the trailer.
#pragma once

#include <cstdint>

#include "server/calls/reply_spec.h"
#include "server/calls/session_calls.h"
#include "server/wire/outgoing_vector.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::server {

// The grant to send a contribution of `num_elements`. `frame` is empty.
void GrantToProto(uint64_t num_elements, v1::StreamStepResponse& frame);

// Thread-compatible. Holds the versions that its data are made of until the last frame is made.
class ReplyFrames {
 public:
  ReplyFrames() = default;
  // What `reply` asks of `outcome`.
  ReplyFrames(const StepOutcome& outcome, uint64_t history, const ReplySpec& reply);

  // Makes the next frame in `frame`, whose memory is used again. Returns whether it was the last.
  bool MakeNext(v1::StreamStepResponse& frame);

 private:
  void MakeChunk(v1::Chunk& chunk);

  OutgoingVector vector_;
  bool checksums_ = false;
  uint64_t next_element_ = 0;
  uint32_t crc_ = 0;         // of all data so far
  core::Overflow overflow_;  // likewise
  v1::StepResponse trailer_;
};

}  // namespace talweg::server
