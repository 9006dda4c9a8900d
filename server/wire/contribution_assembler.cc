// SPDX-License-Identifier: Apache-2.0
#include "server/wire/contribution_assembler.h"

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "server/wire/section_codec.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

absl::Status Misplaced(absl::string_view message, absl::string_view field, uint64_t due) {
  return MakeError(Reason::kChunkMisplaced, message, field,
                   {{"expected_element", absl::StrCat(due)}});
}

absl::Status SizeOutOfRange(uint64_t bytes, uint64_t count, uint64_t smallest) {
  return MakeError(Reason::kFieldOutOfRange,
                   absl::StrCat("chunk has ", count, " elements (", bytes,
                                " bytes of data), allowed: ", smallest, " to ",
                                ContributionAssembler::kMaxChunkBytes, " bytes"),
                   "chunk.section.data");
}

}  // namespace

absl::Status ContributionAssembler::CheckOrder(v1::StreamStepRequest::FrameCase frame) const {
  using Frame = v1::StreamStepRequest;
  if (frame == Frame::FRAME_NOT_SET) {
    return MakeError(Reason::kFrameUnexpected, "a frame is a header, a chunk or a commit", "frame");
  }
  if (frame == Frame::kChunk && open_ && num_elements_ == 0) {
    return MakeError(Reason::kFrameUnexpected,
                     "a chunk came, but a worker that abstains has no gradient", "chunk");
  }
  if ((frame == Frame::kHeader) != open_) return absl::OkStatus();
  const absl::string_view name = frame == Frame::kHeader  ? "header"
                                 : frame == Frame::kChunk ? "chunk"
                                                          : "commit";
  return MakeError(
      Reason::kFrameUnexpected,
      absl::StrCat("a ", name, " came ", open_ ? "within a contribution" : "without a header"),
      name);
}

absl::Status ContributionAssembler::Open(uint64_t num_elements) {
  TALWEG_RETURN_IF_ERROR(CheckOrder(v1::StreamStepRequest::kHeader));
  open_ = true;
  num_elements_ = num_elements;
  next_element_ = 0;
  is_difference_ = false;
  return absl::OkStatus();
}

absl::StatusOr<core::EncodedVector> ContributionAssembler::Add(const v1::Chunk& chunk) {
  TALWEG_RETURN_IF_ERROR(CheckOrder(v1::StreamStepRequest::kChunk));
  if (!chunk.has_section()) {
    return MakeError(Reason::kFieldRequired, "chunk.section is required", "chunk.section");
  }
  const v1::Section& section = chunk.section();
  // The first chunk says what they all are.
  const bool is_difference =
      next_element_ == 0 ? section.kind() == v1::SECTION_KIND_DIFFERENCE : is_difference_;
  const absl::StatusOr<core::EncodedVector> numbers =
      NumbersOf(section, is_difference ? v1::SECTION_KIND_DIFFERENCE : v1::SECTION_KIND_GRADIENT);
  if (!numbers.ok()) return core::PrefixField(numbers.status(), "chunk.section");
  const uint64_t bytes = numbers->bytes.size();
  const uint64_t count = bytes / core::DtypeBytes(numbers->dtype);
  if (section.begin_element() != next_element_) {
    return Misplaced(absl::StrCat("chunk begins at element ", section.begin_element(),
                                  ", expected ", next_element_),
                     "chunk.section.begin_element", next_element_);
  }
  const uint64_t left = num_elements_ - next_element_;
  if (count > left) {
    return Misplaced(absl::StrCat("chunk has ", count, " elements, the layout has ", left,
                                  " from element ", next_element_, " on"),
                     "chunk.section.data", next_element_);
  }
  const uint64_t smallest = count == left ? 1 : kMinChunkBytes;
  if (bytes < smallest || bytes > kMaxChunkBytes) {
    return SizeOutOfRange(bytes, count, smallest);
  }
  if (chunk.has_crc32c()) {
    const uint32_t crc = core::Crc32c(numbers->bytes);
    if (crc != chunk.crc32c()) {
      return MakeError(Reason::kChunkCorrupt,
                       absl::StrCat("chunk at element ", next_element_, " has CRC32C ", crc,
                                    ", it was sent with ", chunk.crc32c()),
                       "chunk.crc32c");
    }
  }
  next_element_ += count;
  is_difference_ = is_difference;
  return numbers;
}

absl::Status ContributionAssembler::Commit() {
  TALWEG_RETURN_IF_ERROR(CheckOrder(v1::StreamStepRequest::kCommit));
  if (next_element_ != num_elements_) {
    return Misplaced(absl::StrCat("commit came at element ", next_element_, " of ", num_elements_),
                     "commit", next_element_);
  }
  open_ = false;
  return absl::OkStatus();
}

}  // namespace talweg::server
