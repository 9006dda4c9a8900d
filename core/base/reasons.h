// SPDX-License-Identifier: Apache-2.0
//
// Why a call failed: one row per reason, stable for ever. Callers branch on the reason, never on
// the text. `proto/README.md` lists the same rows for users; a test compares the two.
//
// An error is an absl::Status with the row's code and three payloads that the server turns into
// google.rpc.ErrorInfo and its companions: the reason, the field's name, and metadata such as the
// history to go on from.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg::core {

enum class Reason {
  // INVALID_ARGUMENT: the request is wrong by itself.
  kFieldUnknown,
  kFieldRequired,
  kFieldOutOfRange,
  kFieldImmutable,
  kHyperparameterOutOfRange,
  kLayoutInvalid,
  kInitialValuesInvalid,
  kSectionMissing,
  kSectionRepeated,
  kSectionUnexpected,
  kSectionSizeMismatch,
  kVersionAhead,
  kReplyTooLarge,
  kPageTokenInvalid,
  kFrameUnexpected,
  kChunkMisplaced,
  // NOT_FOUND and ALREADY_EXISTS.
  kSessionNotFound,
  kSessionExists,
  // FAILED_PRECONDITION: right by itself, wrong now.
  kWorkerNotJoined,
  kRoleMissing,
  kWrongMethod,
  kSequenceTooOld,
  kSequenceReused,
  kVersionGone,
  // ABORTED: the caller belongs to another time.
  kHistoryChanged,
  kConfigChanged,
  kIncarnationFenced,
  kSessionDeleted,
  kUploadTakenOver,
  kUploadExpired,
  // RESOURCE_EXHAUSTED: over a limit of this server.
  kMemoryQuota,
  kTooManySessions,
  kTooManyWorkers,
  // UNAVAILABLE: safe to retry.
  kDraining,
  // DATA_LOSS: bytes that are not what was written.
  kChunkCorrupt,
  kStateCorrupt,
};

struct ReasonRow {
  Reason reason;
  absl::string_view name;  // on the wire
  absl::StatusCode code;
  absl::string_view meaning;  // one sentence, as in proto/README.md
};

// Every reason once, in the order of the enumeration.
absl::Span<const ReasonRow> Reasons();

const ReasonRow& RowOf(Reason reason);

// Names and values that travel with an error, such as {"version", "17"}.
using ErrorMetadata = std::vector<std::pair<std::string, std::string>>;

// An error with the reason's code. `field` is the path of the offending field as the client wrote
// it ("config.optimizer.adam.beta1"); it is empty if no field is to blame.
absl::Status MakeError(Reason reason, absl::string_view message, absl::string_view field = "",
                       const ErrorMetadata& metadata = {});

// The same error with `prefix` put before its field's path: a room names its own field, and its
// caller says where that field stands in the request. An error without a reason or a field is
// returned as it is.
absl::Status PrefixField(absl::Status status, absl::string_view prefix);

// Reads an error back. `ReasonName`, `FieldName` and `MetadataOf` are empty if the status carries
// no reason, field or metadata.
std::string ReasonName(const absl::Status& status);
std::string FieldName(const absl::Status& status);
ErrorMetadata MetadataOf(const absl::Status& status);

}  // namespace talweg::core
