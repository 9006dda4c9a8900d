// SPDX-License-Identifier: Apache-2.0
#include "core/base/reasons.h"

#include <iterator>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/check.h"

namespace talweg::core {
namespace {

constexpr absl::string_view kReasonPayload = "talweg/reason";
constexpr absl::string_view kFieldPayload = "talweg/field";
constexpr absl::string_view kMetadataPayload = "talweg/metadata";

using Code = absl::StatusCode;

constexpr ReasonRow kRows[] = {
    {Reason::kFieldUnknown, "FIELD_UNKNOWN", Code::kInvalidArgument,
     "The request has a field that this server does not know."},
    {Reason::kFieldRequired, "FIELD_REQUIRED", Code::kInvalidArgument,
     "A field that must be set is not."},
    {Reason::kFieldOutOfRange, "FIELD_OUT_OF_RANGE", Code::kInvalidArgument,
     "A field has a value that is not allowed."},
    {Reason::kFieldImmutable, "FIELD_IMMUTABLE", Code::kInvalidArgument,
     "A field cannot change after create."},
    {Reason::kHyperparameterOutOfRange, "HYPERPARAMETER_OUT_OF_RANGE", Code::kInvalidArgument,
     "A hyper-parameter of the optimizer or schedule is outside its range."},
    {Reason::kLayoutInvalid, "LAYOUT_INVALID", Code::kInvalidArgument,
     "The layout has no tensors, too many, a bad or repeated name, or a bad shape."},
    {Reason::kInitialValuesInvalid, "INITIAL_VALUES_INVALID", Code::kInvalidArgument,
     "Initial values are not finite, or a rule and the layout do not fit."},
    {Reason::kSectionMissing, "SECTION_MISSING", Code::kInvalidArgument,
     "The contribution lacks a section that the optimizer needs."},
    {Reason::kSectionRepeated, "SECTION_REPEATED", Code::kInvalidArgument,
     "The contribution has two sections of one kind."},
    {Reason::kSectionUnexpected, "SECTION_UNEXPECTED", Code::kInvalidArgument,
     "A section has a kind, dtype or offset that is not taken here."},
    {Reason::kSectionSizeMismatch, "SECTION_SIZE_MISMATCH", Code::kInvalidArgument,
     "A section's size is not that of the layout."},
    {Reason::kVersionAhead, "VERSION_AHEAD", Code::kInvalidArgument,
     "The contribution's base version is newer than the session."},
    {Reason::kReplyTooLarge, "REPLY_TOO_LARGE", Code::kInvalidArgument,
     "The reply would be larger than max_reply_bytes; nothing was applied."},
    {Reason::kPageTokenInvalid, "PAGE_TOKEN_INVALID", Code::kInvalidArgument,
     "The page token is not one that this server gave."},
    {Reason::kFrameUnexpected, "FRAME_UNEXPECTED", Code::kInvalidArgument,
     "A frame of a stream came where another one is due."},
    {Reason::kChunkMisplaced, "CHUNK_MISPLACED", Code::kInvalidArgument,
     "A chunk, or the commit, is not at the element that is due; the metadata names it."},
    {Reason::kSessionNotFound, "SESSION_NOT_FOUND", Code::kNotFound, "No session has this id."},
    {Reason::kSessionExists, "SESSION_EXISTS", Code::kAlreadyExists,
     "Another request made a session under this id."},
    {Reason::kWorkerNotJoined, "WORKER_NOT_JOINED", Code::kFailedPrecondition,
     "The worker has not joined this session, or has left it."},
    {Reason::kRoleMissing, "ROLE_MISSING", Code::kFailedPrecondition,
     "The worker did not join with the role that this call needs."},
    {Reason::kWrongMethod, "WRONG_METHOD", Code::kFailedPrecondition,
     "The session is trained in another way than this call is for."},
    {Reason::kSequenceTooOld, "SEQUENCE_TOO_OLD", Code::kFailedPrecondition,
     "A later sequence of this incarnation was judged already."},
    {Reason::kSequenceReused, "SEQUENCE_REUSED", Code::kFailedPrecondition,
     "The sequence was judged already, with another payload."},
    {Reason::kVersionGone, "VERSION_GONE", Code::kFailedPrecondition,
     "The pinned version is no longer held; the metadata names the current one."},
    {Reason::kHistoryChanged, "HISTORY_CHANGED", Code::kAborted,
     "The session is on another history; the metadata names it and the version to go on from."},
    {Reason::kConfigChanged, "CONFIG_CHANGED", Code::kAborted,
     "The configuration is another one than the caller has seen; the metadata names its version."},
    {Reason::kIncarnationFenced, "INCARNATION_FENCED", Code::kAborted,
     "A newer process joined under this worker's name; final for this process."},
    {Reason::kSessionDeleted, "SESSION_DELETED", Code::kAborted,
     "The session was deleted while the call was under way."},
    {Reason::kUploadTakenOver, "UPLOAD_TAKEN_OVER", Code::kAborted,
     "A newer stream goes on with this upload."},
    {Reason::kUploadExpired, "UPLOAD_EXPIRED", Code::kAborted,
     "Nothing of this upload arrived for so long that it was thrown away."},
    {Reason::kMemoryQuota, "MEMORY_QUOTA", Code::kResourceExhausted,
     "The session, or the contribution, would exceed the server's memory budget."},
    {Reason::kTooManySessions, "TOO_MANY_SESSIONS", Code::kResourceExhausted,
     "The server holds as many sessions as it may."},
    {Reason::kTooManyWorkers, "TOO_MANY_WORKERS", Code::kResourceExhausted,
     "The session has as many workers as it may."},
    {Reason::kDraining, "DRAINING", Code::kUnavailable,
     "The server is stopping; try again, here or at its successor."},
    {Reason::kChunkCorrupt, "CHUNK_CORRUPT", Code::kDataLoss,
     "The bytes of a chunk or of an upload are not those that the checksum was taken of."},
    {Reason::kStateCorrupt, "STATE_CORRUPT", Code::kDataLoss,
     "Saved state is not what was written."},
};

std::string Payload(const absl::Status& status, absl::string_view url) {
  const auto payload = status.GetPayload(url);
  return payload.has_value() ? std::string(*payload) : std::string();
}

}  // namespace

absl::Span<const ReasonRow> Reasons() { return kRows; }

const ReasonRow& RowOf(Reason reason) {
  const auto index = static_cast<size_t>(reason);
  TALWEG_CHECK(index < std::size(kRows) && kRows[index].reason == reason);
  return kRows[index];
}

absl::Status MakeError(Reason reason, absl::string_view message, absl::string_view field,
                       const ErrorMetadata& metadata) {
  const ReasonRow& row = RowOf(reason);
  absl::Status status(row.code, message);
  status.SetPayload(kReasonPayload, absl::Cord(row.name));
  if (!field.empty()) status.SetPayload(kFieldPayload, absl::Cord(field));
  if (!metadata.empty()) {
    std::string packed;
    for (const auto& [name, value] : metadata) absl::StrAppend(&packed, name, "=", value, "\n");
    status.SetPayload(kMetadataPayload, absl::Cord(packed));
  }
  return status;
}

absl::Status PrefixField(absl::Status status, absl::string_view prefix) {
  const std::string field = FieldName(status);
  if (field.empty()) return status;
  status.SetPayload(kFieldPayload, absl::Cord(absl::StrCat(prefix, ".", field)));
  return status;
}

std::string ReasonName(const absl::Status& status) { return Payload(status, kReasonPayload); }

std::string FieldName(const absl::Status& status) { return Payload(status, kFieldPayload); }

ErrorMetadata MetadataOf(const absl::Status& status) {
  ErrorMetadata metadata;
  const std::string packed = Payload(status, kMetadataPayload);
  for (absl::string_view line : absl::StrSplit(packed, '\n', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> entry = absl::StrSplit(line, absl::MaxSplits('=', 1));
    metadata.push_back(entry);
  }
  return metadata;
}

}  // namespace talweg::core
