// SPDX-License-Identifier: Apache-2.0
//
// A size as a person reads it.
#pragma once

#include <cstdint>
#include <string>

namespace talweg::core {

// "5.1 MiB", with one digit behind the point, and "1023 bytes" below 1 KiB. For texts only: a
// program that goes on counting needs the number itself, as in the metadata of an error.
std::string BytesText(uint64_t bytes);

}  // namespace talweg::core
