// SPDX-License-Identifier: Apache-2.0
//
// Chunks of StreamStep, written and read by hand around their numbers, so that the numbers are
// copied once: generated code would put them into a string first. The bytes are the same as those
// of generated code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "client/cpp/talweg/step_stream.h"
#include "google/protobuf/io/zero_copy_stream.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg {

// The bytes of a StreamStepRequest with a chunk of a gradient: those in front of its numbers, and
// those behind them if it carries a checksum.
std::string BytesBeforeData(const ChunkHead& head);
std::string BytesAfterData(uint32_t crc32c);

// The place of a frame's numbers within its bytes.
struct DataPosition {
  size_t offset = 0;
  size_t size = 0;
};

// Reads a StreamStepResponse. All of it except a chunk's numbers goes to `frame`, and the place of
// the numbers to `data`. False if the bytes are no such message.
bool ReadFrame(google::protobuf::io::ZeroCopyInputStream& bytes, v1::StreamStepResponse& frame,
               DataPosition& data);

}  // namespace talweg
