// SPDX-License-Identifier: Apache-2.0
#include "server/wire/contribution_assembler.h"

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "server/wire/chunk_from_proto.h"

namespace talweg::server {

using core::MakeError;
using core::Reason;

absl::Status ContributionAssembler::CheckOrder(v1::StreamStepRequest::FrameCase frame) const {
  using Frame = v1::StreamStepRequest;
  if (frame == Frame::FRAME_NOT_SET) {
    return MakeError(Reason::kFrameUnexpected, "a frame is a header, a chunk or a commit", "frame");
  }
  if (frame == Frame::kChunk && open_ && num_elements_ + num_statistics_ == 0) {
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

absl::Status ContributionAssembler::Open(uint64_t num_elements, uint64_t num_statistics) {
  TALWEG_RETURN_IF_ERROR(CheckOrder(v1::StreamStepRequest::kHeader));
  open_ = true;
  num_elements_ = num_elements;
  num_statistics_ = num_statistics;
  next_element_ = 0;
  next_statistic_ = 0;
  is_difference_ = false;
  return absl::OkStatus();
}

absl::StatusOr<ContributionAssembler::Numbers> ContributionAssembler::Add(const v1::Chunk& chunk) {
  TALWEG_RETURN_IF_ERROR(CheckOrder(v1::StreamStepRequest::kChunk));
  if (next_element_ == num_elements_ && num_statistics_ > 0) {
    TALWEG_ASSIGN_OR_RETURN(
        const core::EncodedVector numbers,
        NextNumbers(chunk, v1::SECTION_KIND_STATISTICS, next_statistic_, num_statistics_));
    next_statistic_ += numbers.bytes.size() / core::DtypeBytes(numbers.dtype);
    return Numbers{numbers, /*are_statistics=*/true};
  }
  // The first chunk says what they all are.
  const bool is_difference =
      next_element_ == 0 ? chunk.section().kind() == v1::SECTION_KIND_DIFFERENCE : is_difference_;
  TALWEG_ASSIGN_OR_RETURN(
      const core::EncodedVector numbers,
      NextNumbers(chunk, is_difference ? v1::SECTION_KIND_DIFFERENCE : v1::SECTION_KIND_GRADIENT,
                  next_element_, num_elements_));
  next_element_ += numbers.bytes.size() / core::DtypeBytes(numbers.dtype);
  is_difference_ = is_difference;
  return Numbers{numbers};
}

absl::Status ContributionAssembler::Commit() {
  TALWEG_RETURN_IF_ERROR(CheckOrder(v1::StreamStepRequest::kCommit));
  TALWEG_RETURN_IF_ERROR(CheckCommit(next_element_, num_elements_));
  TALWEG_RETURN_IF_ERROR(CheckCommit(next_statistic_, num_statistics_));
  open_ = false;
  return absl::OkStatus();
}

}  // namespace talweg::server
