// SPDX-License-Identifier: Apache-2.0
#include "server/wire/reply_frames.h"

#include <algorithm>

#include "core/base/checksum.h"
#include "server/wire/answer_to_proto.h"

namespace talweg::server {
namespace {

constexpr uint64_t kReplyChunkBytes = uint64_t{1} << 20;

}  // namespace

void GrantToProto(uint64_t num_elements, v1::StreamStepResponse& frame) {
  frame.mutable_grant()->set_num_elements(num_elements);
}

ReplyFrames::ReplyFrames(const StepOutcome& outcome, uint64_t history, const ReplySpec& reply)
    : vector_(outcome, reply), checksums_(reply.checksums) {
  AnswerToProto(outcome, history, trailer_);
}

bool ReplyFrames::MakeNext(v1::StreamStepResponse& frame) {
  if (!vector_.empty() && next_element_ < vector_.num_elements()) {
    MakeChunk(*frame.mutable_chunk());
    return false;
  }
  v1::Trailer& trailer = *frame.mutable_trailer();
  trailer.Clear();
  trailer.mutable_response()->Swap(&trailer_);
  OverflowToProto(overflow_, *trailer.mutable_response());
  if (checksums_ && !vector_.empty()) trailer.set_data_crc32c(crc_);
  vector_ = {};
  return true;
}

void ReplyFrames::MakeChunk(v1::Chunk& chunk) {
  const uint64_t count =
      std::min(kReplyChunkBytes / vector_.element_bytes(), vector_.num_elements() - next_element_);
  v1::Section& section = *chunk.mutable_section();
  vector_.Open(next_element_, count, section);
  overflow_.Add(vector_.Write(next_element_, count, section.mutable_data()->data()), 0);
  next_element_ += count;
  chunk.clear_crc32c();
  if (!checksums_) return;
  chunk.set_crc32c(core::Crc32c(section.data()));
  crc_ = core::Crc32c(section.data(), crc_);
}

}  // namespace talweg::server
