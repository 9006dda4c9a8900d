// SPDX-License-Identifier: Apache-2.0
//
// What the MNIST experiment leaves behind: a table, loss curves as SVG, and CSV.
#pragma once

#include <string>

#include "absl/types/span.h"
#include "client/experiments/mnist/mnist_training.h"
#include "client/experiments/plots/report_writer.h"

namespace talweg {

// What the runs leave in `folder`. For scripts the rows are "methods", and the files are
//   plot     loss.svg: smoothed training loss of each method
//   curves   loss.csv: method,step,epoch,loss
//   summary  summary.csv: one row per method
// For people the method with the best accuracy comes first.
ReportWriter MnistReport(const std::string& folder, absl::Span<const MnistRun> runs);

}  // namespace talweg
