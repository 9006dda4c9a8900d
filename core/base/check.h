// SPDX-License-Identifier: Apache-2.0
//
// TALWEG_CHECK(condition): stops the program if one of our own promises is broken. No byte from
// wire or disk may make a check fail: such input is refused with a status.
#pragma once

namespace talweg::core {

// Prints the place and the broken condition to standard error and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace talweg::core

#define TALWEG_CHECK(condition)                        \
  (static_cast<bool>(condition) ? static_cast<void>(0) \
                                : ::talweg::core::CheckFailed(__FILE__, __LINE__, #condition))
