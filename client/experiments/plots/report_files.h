// SPDX-License-Identifier: Apache-2.0
//
// The files of a report, and its JSON. JSON is put together as text, because every number keeps the
// digits of its format ("0.5000") and every row its line, as no layout of nlohmann's ordered_json
// does; only strings are written by it.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg {

// Makes `folder` and those above it, if need be.
absl::Status MakeFolder(const std::string& folder);
absl::Status WriteFile(const std::string& path, const std::string& text);
// `text` as a string of JSON. Bytes that are no UTF-8 are replaced.
std::string Quoted(absl::string_view text);

// A report for scripts: an object that holds the list `rows`, each a whole JSON value, under the
// name `rows_name`, and then the path of each file under its name.
struct ReportFile {
  absl::string_view name;
  const std::string& path;
};
std::string ReportJson(absl::string_view rows_name, absl::Span<const std::string> rows,
                       absl::Span<const ReportFile> files);

}  // namespace talweg
