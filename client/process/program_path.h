// SPDX-License-Identifier: Apache-2.0
//
// Where programs are: this one, and others. Thread-safe as long as nobody changes the environment.
#pragma once

#include <string>

namespace talweg {

// The file that this program was started from; empty if the system does not say.
std::string PathOfThisProgram();

// The file of the program `name`: `name` itself if it holds a slash, else the first executable file
// of that name in the folders of $PATH; empty if there is none.
std::string FindProgram(const std::string& name);

}  // namespace talweg
