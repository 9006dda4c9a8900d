// SPDX-License-Identifier: Apache-2.0
#include "server/wire/names.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"

namespace talweg::server {

absl::Status CheckName(absl::string_view name, absl::string_view field) {
  constexpr size_t kMaxBytes = 128;
  if (name.empty()) {
    return core::MakeError(core::Reason::kFieldRequired, absl::StrCat(field, " is required"),
                           field);
  }
  const bool allowed = name.size() <= kMaxBytes &&
                       absl::ascii_isalnum(static_cast<unsigned char>(name.front())) &&
                       std::all_of(name.begin(), name.end(), [](char c) {
                         return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' ||
                                c == '_' || c == '-';
                       });
  if (allowed) return absl::OkStatus();
  return core::MakeError(core::Reason::kFieldOutOfRange,
                         absl::StrCat(field,
                                      " is 1 to 128 characters of a-z A-Z 0-9 . _ -, the "
                                      "first a letter or a digit"),
                         field);
}

absl::Status CheckRequestId(absl::string_view request_id, absl::string_view field) {
  constexpr size_t kMaxBytes = 128;
  if (request_id.size() <= kMaxBytes) return absl::OkStatus();
  return core::MakeError(
      core::Reason::kFieldOutOfRange,
      absl::StrCat(field, " has ", request_id.size(), " bytes, allowed: 0 to ", kMaxBytes), field);
}

}  // namespace talweg::server
