// SPDX-License-Identifier: Apache-2.0
//
// What tells one request from all others, so that the server knows its retries.
#pragma once

#include <string>

namespace talweg {

// 128 random bits in hexadecimal.
std::string RandomId();

}  // namespace talweg
