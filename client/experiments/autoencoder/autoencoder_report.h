// SPDX-License-Identifier: Apache-2.0
//
// What the autoencoder experiment leaves behind: a table beside the published losses, loss curves
// against epochs and against seconds as SVG, and CSV.
#pragma once

#include <string>

#include "absl/types/span.h"
#include "client/experiments/autoencoder/autoencoder_training.h"
#include "client/experiments/plots/report_writer.h"

namespace talweg {

// What the runs leave in `folder`. For scripts the rows are "runs", and the files are
//   plot     loss.svg: loss on the training set against epochs; of momentum and Adam the best rate
//   seconds  loss_seconds.svg: the same against seconds of training
//   curves   loss.csv: run,epoch,loss,seconds
//   summary  summary.csv: one row per run
ReportWriter AutoencoderReport(const std::string& folder, absl::Span<const AutoencoderRun> runs);

}  // namespace talweg
