// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/plots/report_files.h"

#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace talweg {

absl::Status MakeFolder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!error) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("cannot make ", folder, ": ", error.message()));
}

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) return absl::InternalError(absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

std::string Quoted(absl::string_view text) {
  using Json = nlohmann::ordered_json;
  return Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string ReportJson(absl::string_view rows_name, absl::Span<const std::string> rows,
                       absl::Span<const ReportFile> files) {
  std::string json = absl::StrCat("{\n  ", Quoted(rows_name), ": [");
  for (size_t i = 0; i < rows.size(); ++i) {
    absl::StrAppend(&json, i == 0 ? "\n    " : ",\n    ", rows[i]);
  }
  absl::StrAppend(&json, "\n  ]");
  for (const ReportFile& file : files) {
    absl::StrAppend(&json, ",\n  ", Quoted(file.name), ": ", Quoted(file.path));
  }
  return json + "\n}\n";
}

}  // namespace talweg
