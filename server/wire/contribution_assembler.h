// SPDX-License-Identifier: Apache-2.0
//
// What the frames of a stream must be, and in which order they come: a header, chunks that follow
// each other from element 0 to the end of the layout (none if there is no gradient), then chunks of
// the statistics likewise (none if there are none), a commit; then the next header.
//
// A state machine without sockets, threads or memory of its own: it decides what a frame is good
// for, and its caller copies the numbers. After an error the stream is over.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/dtype.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::server {

// Thread-compatible.
class ContributionAssembler {
 public:
  // Whether a frame of this kind may come now. FRAME_UNEXPECTED.
  absl::Status CheckOrder(v1::StreamStepRequest::FrameCase frame) const;

  // The numbers of a chunk, borrowed from it: they come next in their vector.
  struct Numbers {
    core::EncodedVector numbers;
    bool are_statistics = false;
  };

  // A header came, for a gradient of `num_elements` and statistics of `num_statistics`; either may
  // be 0. FRAME_UNEXPECTED.
  absl::Status Open(uint64_t num_elements, uint64_t num_statistics = 0);
  // All chunks of a contribution's gradient hold a gradient, or all hold a difference. If the chunk
  // has a checksum, its numbers are read to verify it. FRAME_UNEXPECTED, CHUNK_MISPLACED,
  // CHUNK_CORRUPT, FIELD_REQUIRED, FIELD_OUT_OF_RANGE, SECTION_UNEXPECTED, SECTION_SIZE_MISMATCH.
  absl::StatusOr<Numbers> Add(const v1::Chunk& chunk);
  // A commit came: the contribution is whole. FRAME_UNEXPECTED, CHUNK_MISPLACED.
  absl::Status Commit();

  // Whether a contribution is under way.
  bool open() const { return open_; }
  uint64_t next_element() const { return next_element_; }
  // Whether the chunks that came last held a difference instead of a gradient.
  bool is_difference() const { return is_difference_; }

 private:
  bool open_ = false;
  uint64_t num_elements_ = 0;
  uint64_t num_statistics_ = 0;
  uint64_t next_element_ = 0;  // of the gradient
  uint64_t next_statistic_ = 0;
  bool is_difference_ = false;
};

}  // namespace talweg::server
