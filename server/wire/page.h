// SPDX-License-Identifier: Apache-2.0
//
// Pages of long lists: how long a page is, and where the next page begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace talweg::server {

// Checks that a page size is in [0, 1000]; 0 means the default. FIELD_OUT_OF_RANGE, naming
// "page_size".
absl::Status CheckPageSize(uint32_t page_size);
// How many entries a page of that size has: 50 if the request leaves it open.
size_t PageSize(uint32_t page_size);

// Checks that `token` may be a session id, because the server gives the last id of a page as a
// token. An empty token begins at the front. Fails with PAGE_TOKEN_INVALID.
absl::Status CheckPageToken(const std::string& token);

}  // namespace talweg::server
