// SPDX-License-Identifier: Apache-2.0
//
// A chunk of a vector that comes over a stream: whether it is the one that is due.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/dtype.h"
#include "talweg/v1/section.pb.h"

namespace talweg::server {

// Bounds on the bytes that the numbers of a chunk take in their dtype.
inline constexpr uint64_t kMaxChunkBytes = uint64_t{4} << 20;
inline constexpr uint64_t kMinChunkBytes = uint64_t{256} << 10;  // except for the last chunk

// The numbers of the chunk, borrowed from it. They are of `kind` and come next in a vector of
// `num_elements` of which `next_element` are there. If the chunk has a checksum, its numbers are
// read to verify it. Paths in errors start at the frame. CHUNK_MISPLACED, CHUNK_CORRUPT,
// FIELD_REQUIRED, FIELD_OUT_OF_RANGE, SECTION_UNEXPECTED, SECTION_SIZE_MISMATCH.
absl::StatusOr<core::EncodedVector> NextNumbers(const v1::Chunk& chunk, v1::SectionKind kind,
                                                uint64_t next_element, uint64_t num_elements);

// A commit came. CHUNK_MISPLACED unless all elements are there.
absl::Status CheckCommit(uint64_t next_element, uint64_t num_elements);

}  // namespace talweg::server
