// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/plots/report_writer.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/experiments/plots/report_files.h"

namespace talweg {

void ReportWriter::AddFile(std::string name, std::string heading, absl::string_view file_name,
                           std::string text) {
  files_.push_back({std::move(name), std::move(heading), absl::StrCat(folder_, "/", file_name),
                    std::move(text)});
}

void ReportWriter::SetRows(std::string rows_name, std::vector<std::string> rows) {
  rows_name_ = std::move(rows_name);
  rows_ = std::move(rows);
}

const std::string& ReportWriter::PathOf(absl::string_view name) const {
  return std::find_if(files_.begin(), files_.end(),
                      [&](const File& file) { return file.name == name; })
      ->path;
}

std::string ReportWriter::Json() const {
  std::vector<ReportFile> paths;
  for (const File& file : files_) paths.push_back({file.name, file.path});
  return ReportJson(rows_name_, rows_, paths);
}

std::string ReportWriter::Text() const {
  size_t width = 0;
  for (const File& file : files_) width = std::max(width, file.heading.size());
  std::string text = absl::StrCat("\n", table_);
  const std::string* heading = nullptr;
  for (const File& file : files_) {
    if (heading != nullptr && *heading == file.heading) {
      absl::StrAppend(&text, ", ", file.path);
      continue;
    }
    heading = &file.heading;
    absl::StrAppend(&text, "\n", *heading, std::string(width - heading->size() + 2, ' '),
                    file.path);
  }
  return text + "\n";
}

absl::Status ReportWriter::Write() const {
  absl::Status status = MakeFolder(folder_);
  for (const File& file : files_) status.Update(WriteFile(file.path, file.text));
  return status;
}

absl::Status ReportWriter::Deliver(bool json, std::ostream& out) const {
  const absl::Status written = Write();
  if (written.ok()) out << (json ? Json() : Text());
  return written;
}

}  // namespace talweg
