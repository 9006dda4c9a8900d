// SPDX-License-Identifier: Apache-2.0
//
// Pages of long lists: how long one is, and where the next begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace talweg::server {

// 0 (the default) to 1,000. FIELD_OUT_OF_RANGE, naming "page_size".
absl::Status CheckPageSize(uint32_t page_size);
// How many entries a page of that size has: 50 if the request leaves it open.
size_t PageSize(uint32_t page_size);

// Whether `token` may be the last session id of a page, which is what the server gives as a token.
// PAGE_TOKEN_INVALID; an empty token begins at the front.
absl::Status CheckPageToken(const std::string& token);

}  // namespace talweg::server
