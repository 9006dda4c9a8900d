// SPDX-License-Identifier: Apache-2.0
#include "server/wire/page.h"

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "server/wire/names.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

constexpr uint32_t kDefaultPageSize = 50;
constexpr uint32_t kMaxPageSize = 1000;

}  // namespace

absl::Status CheckPageSize(uint32_t page_size) {
  if (page_size <= kMaxPageSize) return absl::OkStatus();
  return MakeError(Reason::kFieldOutOfRange,
                   absl::StrCat("page_size is ", page_size, ", allowed: 1 to ", kMaxPageSize),
                   "page_size");
}

size_t PageSize(uint32_t page_size) { return page_size == 0 ? kDefaultPageSize : page_size; }

absl::Status CheckPageToken(const std::string& token) {
  if (token.empty() || CheckName(token, "page_token").ok()) return absl::OkStatus();
  return MakeError(Reason::kPageTokenInvalid, "page_token is not one that this server gave",
                   "page_token");
}

}  // namespace talweg::server
