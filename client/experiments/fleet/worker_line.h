// SPDX-License-Identifier: Apache-2.0
//
// What a worker process of a fleet says of each contribution, in one line of text:
//
//   step VERDICT VERSION LOSS COMPUTE_SECONDS WAIT_SECONDS
//   step APPLIED 17 0.4321 0.0102 0.0034
//
// VERSION is that of the parameters that came back. COMPUTE_SECONDS is what the gradient took (the
// sleep of a slow worker included), WAIT_SECONDS what the answer took. All other lines are for
// people.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg {

struct WorkerStep {
  v1::Verdict verdict = v1::VERDICT_UNSPECIFIED;
  uint64_t version = 0;
  double loss = 0;
  double compute_seconds = 0;
  double wait_seconds = 0;
};

// Without the end of the line.
std::string FormatWorkerStep(const WorkerStep& step);
// Nothing if the line is another one.
std::optional<WorkerStep> ParseWorkerStep(absl::string_view line);

// What a worker did so far, over all of its processes.
struct WorkerTally {
  uint64_t applied = 0;
  uint64_t late = 0;     // ROUND_CLOSED
  uint64_t refused = 0;  // TOO_STALE, REJECTED_NON_FINITE
  double compute_seconds = 0;
  double wait_seconds = 0;
  double last_loss = 0;
  uint64_t last_version = 0;

  void Add(const WorkerStep& step);
  void Add(const WorkerTally& other);  // adds all counts and times; not the last loss and version
  uint64_t contributions() const { return applied + late + refused; }
};

}  // namespace talweg
