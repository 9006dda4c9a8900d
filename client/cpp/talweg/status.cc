// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/status.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace talweg {
namespace {

constexpr absl::string_view kDomain = "talweg";
constexpr absl::string_view kReasonPayload = "talweg/reason";
constexpr absl::string_view kFieldPayload = "talweg/field";
constexpr absl::string_view kMetadataPayload = "talweg/metadata";
// Stands in every status that ended a call; its own is empty.
constexpr absl::string_view kCallPayload = "talweg/call";
constexpr absl::string_view kRetryPayload = "talweg/retry_delay_nanoseconds";

std::string Payload(const absl::Status& status, absl::string_view url) {
  const auto payload = status.GetPayload(url);
  return payload.has_value() ? std::string(*payload) : std::string();
}

void AddErrorInfo(const google::rpc::ErrorInfo& info, absl::Status& status) {
  if (absl::string_view(info.domain()) != kDomain) return;
  status.SetPayload(kReasonPayload, absl::Cord(info.reason()));
  ErrorMetadata sorted(info.metadata().begin(), info.metadata().end());
  std::sort(sorted.begin(), sorted.end());
  std::string packed;
  for (const auto& [name, value] : sorted) absl::StrAppend(&packed, name, "=", value, "\n");
  if (!packed.empty()) status.SetPayload(kMetadataPayload, absl::Cord(packed));
}

std::optional<uint64_t> NumberOf(const absl::Status& status, absl::string_view name) {
  for (const auto& [key, value] : MetadataOf(status)) {
    uint64_t number = 0;
    if (key == name && absl::SimpleAtoi(value, &number)) return number;
  }
  return std::nullopt;
}

}  // namespace

std::string ReasonOf(const absl::Status& status) { return Payload(status, kReasonPayload); }

std::string FieldOf(const absl::Status& status) { return Payload(status, kFieldPayload); }

ErrorMetadata MetadataOf(const absl::Status& status) {
  ErrorMetadata metadata;
  const std::string packed = Payload(status, kMetadataPayload);
  for (const absl::string_view line : absl::StrSplit(packed, '\n', absl::SkipEmpty())) {
    metadata.push_back(absl::StrSplit(line, absl::MaxSplits('=', 1)));
  }
  return metadata;
}

std::optional<uint64_t> HistoryOf(const absl::Status& status) {
  return NumberOf(status, "history");
}

std::optional<uint64_t> VersionOf(const absl::Status& status) {
  return NumberOf(status, "version");
}

absl::Duration RetryDelayOf(const absl::Status& status) {
  int64_t nanoseconds = 0;
  if (!absl::SimpleAtoi(Payload(status, kRetryPayload), &nanoseconds)) return absl::ZeroDuration();
  return absl::Nanoseconds(nanoseconds);
}

absl::Status StatusFromDetails(int code, absl::string_view message, absl::string_view details) {
  absl::Status status(static_cast<absl::StatusCode>(code), message);
  status.SetPayload(kCallPayload, absl::Cord());
  google::rpc::Status parsed;
  if (details.empty() || !parsed.ParseFromArray(details.data(), static_cast<int>(details.size()))) {
    return status;
  }
  for (const google::protobuf::Any& any : parsed.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad_request;
    google::rpc::PreconditionFailure precondition;
    google::rpc::RetryInfo retry;
    if (any.UnpackTo(&info)) {
      AddErrorInfo(info, status);
    } else if (any.UnpackTo(&bad_request) && bad_request.field_violations_size() > 0) {
      status.SetPayload(kFieldPayload, absl::Cord(bad_request.field_violations(0).field()));
    } else if (any.UnpackTo(&precondition) && precondition.violations_size() > 0) {
      status.SetPayload(kFieldPayload, absl::Cord(precondition.violations(0).subject()));
    } else if (any.UnpackTo(&retry)) {
      const int64_t nanoseconds =
          retry.retry_delay().seconds() * 1'000'000'000 + retry.retry_delay().nanos();
      status.SetPayload(kRetryPayload, absl::Cord(absl::StrCat(nanoseconds)));
    }
  }
  return status;
}

std::string Describe(const absl::Status& status) {
  std::string reason = ReasonOf(status);
  const std::string field = FieldOf(status);
  if (reason.empty() && status.GetPayload(kCallPayload).has_value()) {
    reason = absl::StatusCodeToString(status.code());
  }
  std::string line = absl::StrCat(reason, reason.empty() ? "" : ": ", status.message());
  if (!field.empty()) absl::StrAppend(&line, " (", field, ")");
  return line;
}

}  // namespace talweg
