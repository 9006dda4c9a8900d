// SPDX-License-Identifier: Apache-2.0
//
// What the MNIST experiment leaves behind: a table, loss curves as SVG, and CSV.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/experiments/mnist/mnist_training.h"

namespace talweg {

// Paths of the files written.
struct MnistFiles {
  std::string plot;     // loss.svg: smoothed training loss of each method
  std::string curves;   // loss.csv: method,step,epoch,loss
  std::string summary;  // summary.csv: one row per method
};

// Writes the files in `folder`, which is made if need be.
absl::StatusOr<MnistFiles> WriteMnistFiles(const std::string& folder,
                                           absl::Span<const MnistRun> runs);

// The summary for a person, the best accuracy first.
std::string MnistTable(absl::Span<const MnistRun> runs);
// The summary and the paths for a script, one JSON object.
std::string MnistJson(absl::Span<const MnistRun> runs, const MnistFiles& files);

}  // namespace talweg
