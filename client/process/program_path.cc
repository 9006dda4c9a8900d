// SPDX-License-Identifier: Apache-2.0
#include "client/process/program_path.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_split.h"

namespace talweg {

std::string PathOfThisProgram() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "" : path.string();
}

std::string FindProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  if (path == nullptr || name.empty()) return "";
  const std::vector<std::string> folders = absl::StrSplit(path, ':', absl::SkipEmpty());
  for (const std::string& folder : folders) {
    const std::string program = (std::filesystem::path(folder) / name).string();
    if (access(program.c_str(), X_OK) == 0) return program;
  }
  return "";
}

}  // namespace talweg
