// SPDX-License-Identifier: Apache-2.0
//
// The numbers of a step's record, by their names on the wire: for lines, CSV files, plots and
// TensorBoard alike.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg {

struct RecordColumn {
  std::string name;
  // Nothing if the record does not say.
  std::optional<double> (*value)(const v1::StepRecord& record);
};

// All numbers of a record except version and time; those of a search have "search_" before their
// name. The digest of a state is no number: lines and
// CSV have it behind these.
const std::vector<RecordColumn>& RecordColumns();

// Seconds since 1970, by the server's clock.
double RecordSeconds(const v1::StepRecord& record);

// "version=12 time=2026-01-02T03:04:05.678Z loss=0.25 learning_rate=0.001 ...", without line end.
std::string RecordLine(const v1::StepRecord& record);

// A header, then one line per record. Numbers have as many digits as it takes to get the same
// float64 back. Times are RFC 3339 in UTC. A value that a record does not have is empty.
std::string RecordsCsv(absl::Span<const v1::StepRecord> records);

}  // namespace talweg
