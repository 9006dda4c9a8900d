// SPDX-License-Identifier: Apache-2.0
//
// One StreamStep call as its frames, without gRPC's types: what contribution_stream.h stands on,
// and what a test replaces.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg {

// A chunk but for its bytes.
struct ChunkHead {
  v1::Dtype dtype = v1::DTYPE_FLOAT32;
  uint64_t begin_element = 0;
  size_t num_bytes = 0;
  bool checksum = false;  // whether it carries its CRC32C
  v1::SectionKind kind = v1::SECTION_KIND_GRADIENT;
};

struct StreamEvent {
  enum class Kind {
    kWritten,  // the frame written last has gone out: the next may follow
    kFrame,    // frame() is new
    kEnded,    // the stream is over; `status` says why, OK where the server closed it
    kTimeout,  // none of these within the time given
  };
  Kind kind = Kind::kTimeout;
  absl::Status status;
};

// A call under way, both directions at once. Destroying it cancels what is left of it. One thread.
class StepStream {
 public:
  virtual ~StepStream() = default;

  // Begins to send a header or a commit; the frame before it must have been written.
  virtual void Write(const v1::StreamStepRequest& frame) = 0;
  // Begins to send a chunk of a gradient; `fill` writes head.num_bytes, before the call returns.
  virtual void WriteChunk(const ChunkHead& head, absl::FunctionRef<void(char* bytes)> fill) = 0;

  // Waits for what happens next.
  virtual StreamEvent Next(absl::Duration timeout) = 0;

  // The frame of the last kFrame; a chunk's section is without its data.
  virtual const v1::StreamStepResponse& frame() const = 0;
  // Size of the data of the last frame, and a copy of them.
  virtual size_t data_size() const = 0;
  virtual void CopyData(char* bytes) const = 0;
};

}  // namespace talweg
