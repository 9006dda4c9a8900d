// SPDX-License-Identifier: Apache-2.0
//
// A round that has closed, while its step is taken: which workers are told when the version stands,
// and what the version's record, the report and the order of the step say. Only this room includes
// this file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/rounds/event.h"
#include "core/rounds/expectations.h"
#include "core/rounds/open_round.h"
#include "core/rounds/statistics.h"

namespace talweg::core {

struct ClosedRound {
  uint64_t serial = 0;
  std::vector<OpenRound::Place> places;  // of the record's members
  std::vector<OpenRound::Bystander> bystanders;
  std::vector<OpenRound::Bystander> abstainers;
  std::vector<OpenStatistics::Place> statistics;  // of the record's statistics
  StepReport report;
  std::shared_ptr<VersionRecord> record;
  StepOrder order;
};

// Closes `round`, whose contributions weigh `total_weight`, with the statistics that came for it.
// It makes `version` under `config`.
ClosedRound Close(OpenRound&& round, OpenStatistics&& statistics, uint64_t serial, uint64_t version,
                  double total_weight, const Configure& config, Missing missing, absl::Time now);

}  // namespace talweg::core
