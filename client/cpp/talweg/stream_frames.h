// SPDX-License-Identifier: Apache-2.0
//
// Chunks of StreamStep written and read by hand around their numbers, so that those are copied
// once: generated code would put them into a string first. The bytes are those that it makes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "client/cpp/talweg/step_stream.h"
#include "google/protobuf/io/zero_copy_stream.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg {

// Of a StreamStepRequest with a chunk of a gradient: what stands in front of its numbers, and what
// behind them where it carries a checksum.
std::string BytesBeforeData(const ChunkHead& head);
std::string BytesAfterData(uint32_t crc32c);

// Where the numbers of a frame stand in its bytes.
struct DataPosition {
  size_t offset = 0;
  size_t size = 0;
};

// Reads a StreamStepResponse: all of it but a chunk's numbers goes to `frame`, their place to
// `data`. False where the bytes are none.
bool ReadFrame(google::protobuf::io::ZeroCopyInputStream& bytes, v1::StreamStepResponse& frame,
               DataPosition& data);

}  // namespace talweg
