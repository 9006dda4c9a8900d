// SPDX-License-Identifier: Apache-2.0
#include "server/wire/status_to_grpc.h"

#include <string>

#include "absl/strings/ascii.h"
#include "core/base/reasons.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace talweg::server {
namespace {

// The message travels twice: as gRPC's own and within the details. With the names and tags around
// them, both stay under 2 KiB together.
constexpr size_t kMaxMessageBytes = 512;
constexpr size_t kMaxDescriptionBytes = 128;  // of a violation
constexpr size_t kMaxFieldBytes = 256;
constexpr size_t kMaxMetadata = 4;
constexpr size_t kMaxMetadataNameBytes = 24;
constexpr size_t kMaxMetadataValueBytes = 64;
constexpr int kRetryMilliseconds = 500;

std::string Shortened(std::string text, size_t limit) {
  if (text.size() > limit) {
    text.resize(limit - 3);
    text += "...";
  }
  // A string on the wire must be UTF-8; bytes of a client that our message quotes may not be.
  for (char& c : text) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  return text;
}

}  // namespace

grpc::Status StatusToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(Shortened(std::string(status.message()), kMaxMessageBytes));

  const std::string reason = core::ReasonName(status);
  if (!reason.empty()) {
    google::rpc::ErrorInfo info;
    info.set_reason(reason);
    info.set_domain("talweg");
    for (const auto& [name, value] : core::MetadataOf(status)) {
      if (info.metadata().size() == kMaxMetadata) break;
      (*info.mutable_metadata())[Shortened(name, kMaxMetadataNameBytes)] =
          Shortened(value, kMaxMetadataValueBytes);
    }
    details.add_details()->PackFrom(info);
  }
  const std::string description = Shortened(details.message(), kMaxDescriptionBytes);
  const std::string field = Shortened(core::FieldName(status), kMaxFieldBytes);
  if (!field.empty() && status.code() == absl::StatusCode::kInvalidArgument) {
    google::rpc::BadRequest request;
    google::rpc::BadRequest::FieldViolation& violation = *request.add_field_violations();
    violation.set_field(field);
    violation.set_description(description);
    details.add_details()->PackFrom(request);
  } else if (!field.empty()) {
    google::rpc::PreconditionFailure failure;
    google::rpc::PreconditionFailure::Violation& violation = *failure.add_violations();
    violation.set_type(reason);
    violation.set_subject(field);
    violation.set_description(description);
    details.add_details()->PackFrom(failure);
  }
  if (status.code() == absl::StatusCode::kUnavailable) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_nanos(kRetryMilliseconds * 1'000'000);
    details.add_details()->PackFrom(retry);
  }
  if (status.code() == absl::StatusCode::kResourceExhausted) {
    google::rpc::QuotaFailure quota;
    google::rpc::QuotaFailure::Violation& violation = *quota.add_violations();
    violation.set_subject("server");
    violation.set_description(description);
    details.add_details()->PackFrom(quota);
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), details.message(),
                      details.SerializeAsString());
}

}  // namespace talweg::server
