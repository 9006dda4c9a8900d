// SPDX-License-Identifier: Apache-2.0
//
// What an experiment leaves behind: files in a folder, and a summary that names them, as a table
// for a person or as JSON for a script. An experiment makes one from its runs, and delivers it.
#pragma once

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace talweg {

// A value. Thread-compatible.
class ReportWriter {
 public:
  explicit ReportWriter(std::string folder) : folder_(std::move(folder)) {}

  // The file `file_name` of the folder will hold `text`. Scripts find its path under `name`, people
  // find it under `heading`; files of one heading, added one after the other, stand on one line.
  void AddFile(std::string name, std::string heading, absl::string_view file_name,
               std::string text);
  // What a person sees, lines ended.
  void SetTable(std::string table) { table_ = std::move(table); }
  // What a script sees: the list of that name, each entry a whole JSON value.
  void SetRows(std::string rows_name, std::vector<std::string> rows);

  // The path of the file that was added under `name`, which must have been added.
  const std::string& PathOf(absl::string_view name) const;
  const std::string& table() const { return table_; }
  // One object of the rows and the paths (ReportJson).
  std::string Json() const;
  // The table between blank lines, and then the paths.
  std::string Text() const;

  // Makes the folder and writes the files.
  absl::Status Write() const;
  // Writes the files, and then the summary to `out`.
  absl::Status Deliver(bool json, std::ostream& out) const;

 private:
  struct File {
    std::string name;
    std::string heading;
    std::string path;
    std::string text;
  };

  const std::string folder_;
  std::vector<File> files_;
  std::string table_;
  std::string rows_name_;
  std::vector<std::string> rows_;
};

}  // namespace talweg
