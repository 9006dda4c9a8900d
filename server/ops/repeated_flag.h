// SPDX-License-Identifier: Apache-2.0
//
// Finds a flag that a command line gives twice, which Abseil takes silently: the last one wins.
#pragma once

#include <string>

#include "absl/types/span.h"

namespace talweg::server {

// The name, without dashes, of the first flag that stands twice among `arguments` (those of main,
// without the program's name); empty if none does. Reads them as absl::ParseCommandLine does:
// "--flag=value", "--flag value", "--flag" and "--noflag" of a bool, each also with one dash, up to
// "--". Which flags are bools is asked of Abseil, so call it in a program that defines them.
//
// Flags that Abseil itself adds up (--flagfile and its like) may be repeated, and what a flag file
// gives is not looked at: a command line may override it.
std::string RepeatedFlag(absl::Span<const char* const> arguments);

}  // namespace talweg::server
