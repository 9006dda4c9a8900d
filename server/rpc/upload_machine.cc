// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/upload_machine.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "server/wire/chunk_from_proto.h"
#include "server/wire/source_from_proto.h"
#include "server/wire/unknown_fields.h"

namespace talweg::server {

using core::MakeError;
using core::Reason;

void UploadMachine::Take(const v1::UploadSessionRequest& frame) {
  const absl::Status taken = TakeFrame(frame);
  if (!taken.ok()) world_.End(taken);
}

absl::Status UploadMachine::TakeFrame(const v1::UploadSessionRequest& frame) {
  using Frame = v1::UploadSessionRequest;
  TALWEG_RETURN_IF_ERROR(CheckNoUnknownFields(frame));
  if (frame.frame_case() == Frame::FRAME_NOT_SET) {
    return MakeError(Reason::kFrameUnexpected, "a frame is a create, a chunk or a commit", "frame");
  }
  const bool begins = phase_ == Phase::kBegin;
  if (frame.has_create() != begins) {
    return MakeError(Reason::kFrameUnexpected,
                     begins ? "an upload opens with a create" : "a create came within an upload",
                     begins ? "frame" : "create");
  }
  if (begins) {
    phase_ = Phase::kOpening;
    world_.Open(frame.create());
    return absl::OkStatus();
  }
  return frame.has_chunk() ? TakeChunk(frame.chunk()) : TakeCommit(frame.commit());
}

absl::Status UploadMachine::TakeChunk(const v1::Chunk& chunk) {
  ArrivedValues& arrived = *upload_->arrived();
  const core::Layout& layout = *arrived.session.config.layout;
  TALWEG_ASSIGN_OR_RETURN(
      const core::EncodedVector numbers,
      NextNumbers(chunk, v1::SECTION_KIND_PARAMETERS, arrived.num_arrived, layout.num_elements()));
  const size_t count = numbers.bytes.size() / core::DtypeBytes(numbers.dtype);
  const absl::Span<float> values =
      arrived.session.values->values.span().subspan(arrived.num_arrived, count);
  core::ToFloat32(numbers.dtype, numbers.bytes.data(), values);
  const absl::Status finite =
      CheckFinite(values, arrived.num_arrived, layout, "chunk.section.data");
  if (!finite.ok()) {
    upload_->Discard();
    return finite;
  }
  arrived.crc32c = core::Crc32c(values, arrived.crc32c);
  arrived.num_arrived += count;
  upload_->Touch();
  return absl::OkStatus();
}

absl::Status UploadMachine::TakeCommit(const v1::UploadCommit& commit) {
  const ArrivedValues& arrived = *upload_->arrived();
  TALWEG_RETURN_IF_ERROR(
      CheckCommit(arrived.num_arrived, arrived.session.config.layout->num_elements()));
  if (commit.has_crc32c() && commit.crc32c() != arrived.crc32c) {
    const uint32_t crc32c = arrived.crc32c;
    upload_->Discard();
    return MakeError(Reason::kChunkCorrupt,
                     absl::StrCat("the values have CRC32C ", crc32c, ", the commit has ",
                                  commit.crc32c(), ": the upload begins with element 0 again"),
                     "commit.crc32c");
  }
  phase_ = Phase::kMaking;
  world_.Make(std::move(upload_));
  return absl::OkStatus();
}

void UploadMachine::NoMoreFrames() {
  if (phase_ != Phase::kBegin && phase_ != Phase::kOpen) return;
  world_.End(MakeError(Reason::kFrameUnexpected,
                       phase_ == Phase::kBegin ? "the stream ended without a create"
                                               : "the stream ended within an upload",
                       "frame"));
}

void UploadMachine::Opened(absl::StatusOr<std::unique_ptr<Upload>> upload) {
  // If the stream has given up meanwhile, the upload is let go at the end of this function.
  if (phase_ != Phase::kOpening) return;
  if (!upload.ok()) return world_.End(upload.status());
  if (is_taken_over_) return world_.End(UploadTakenOver());
  upload_ = *std::move(upload);
  phase_ = Phase::kOpen;
  const ArrivedValues& arrived = *upload_->arrived();
  world_.SendGrant(arrived.num_arrived, arrived.session.config.layout->num_elements());
}

void UploadMachine::Created(const absl::StatusOr<v1::CreateSessionResponse>& created) {
  if (phase_ != Phase::kOpening && phase_ != Phase::kMaking) return;
  if (created.ok()) world_.SendCreated(*created);
  world_.End(created.status());
}

void UploadMachine::Hear(Uploads::News news) {
  // This stream may have become the holder without having heard of it yet.
  if (news == Uploads::News::kTakenOver && phase_ == Phase::kOpening) is_taken_over_ = true;
  if (phase_ != Phase::kOpen) return;
  if (news == Uploads::News::kTakenOver) return world_.End(UploadTakenOver());
  if (!upload_->IsExpired()) return;
  upload_->Discard();
  world_.End(
      MakeError(Reason::kUploadExpired,
                "no chunk has arrived for too long: the upload begins with element 0 again"));
}

void UploadMachine::Stop(const absl::Status& draining) {
  if (phase_ != Phase::kMaking && phase_ != Phase::kOver) world_.End(draining);
}

void UploadMachine::LetGo() {
  if (phase_ == Phase::kOpening) world_.StopOpening();
  phase_ = Phase::kOver;
  upload_.reset();
}

}  // namespace talweg::server
