// SPDX-License-Identifier: Apache-2.0
//
// One call of StreamStep as its frames, without gRPC's types. contribution_stream.h stands on it,
// and tests replace it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg {

// All of a chunk except its bytes.
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
    kEnded,    // the stream is over; `status` says why, OK if the server closed it
    kTimeout,  // none of these within the time given
  };
  Kind kind = Kind::kTimeout;
  absl::Status status;
};

// A call that is under way, in both directions at once. Destroying the object cancels the call. One
// thread.
class StepStream {
 public:
  virtual ~StepStream() = default;

  // Begins to send a header or a commit. The frame before it must have been written.
  virtual void Write(const v1::StreamStepRequest& frame) = 0;
  // Begins to send a chunk of a gradient. `fill` writes head.num_bytes before this call returns.
  virtual void WriteChunk(const ChunkHead& head, absl::FunctionRef<void(char* bytes)> fill) = 0;

  // Waits for what happens next.
  virtual StreamEvent Next(absl::Duration timeout) = 0;

  // The frame of the last kFrame. If it is a chunk, the data of its section are left out.
  virtual const v1::StreamStepResponse& frame() const = 0;
  // The size of the data of the last frame, and a copy of them.
  virtual size_t data_size() const = 0;
  virtual void CopyData(char* bytes) const = 0;
};

}  // namespace talweg
