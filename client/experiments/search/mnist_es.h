// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment mnist_es`: a network on MNIST, trained by an evolution strategy with worker
// processes and by backpropagation.
//
//   update   W -= eta/M sum_p (L(W + dW_p) - L(W - dW_p)) / 2 dW_p      dW_p of variance sigma^2
//
// with eta = 0.1 / sigma^2, so that the rate in the unit of gradients is that of backpropagation,
// 0.1. The samples M of an update are pairs of perturbations, two evaluations each. All evaluations
// of an update see the same 100 images; backpropagation sees the same images in the same order.
//
// Theory, for an estimate from M pairs of normals in d dimensions and a linear loss: its cosine
// with the gradient is sqrt(M / (M + d - 1)).
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/client.h"
#include "client/experiments/plots/report_writer.h"
#include "client/experiments/search/mnist_es_run.h"

namespace talweg {

struct MnistEsOptions {
  std::string server;  // HOST:PORT, also for the worker processes
  ClientOptions client;
  bool quick = false;  // a narrow network and few pairs: seconds instead of an hour
  // Pairs per update of each search; 0 is backpropagation. Empty: 0, 1600 and 5000; quick: 0, 200
  // and 800.
  std::vector<uint64_t> pairs;
  std::optional<uint64_t> num_steps;  // updates, in [1, 100000]. Unset: 100; quick: 60
  uint64_t num_seeds = 1;             // trainings of each kind, >= 1; one seed after the other
  uint64_t seed = 1;                  // of the first: of initial values, perturbations and images
  uint64_t num_workers = 0;           // processes, at most 256; 0: one for each core
  double sigma = 0.005;               // > 0
  std::string out_dir = "results/mnist_es";  // the folder for plots and CSV
  std::string data_dir;                      // folder of the data; empty: FindMnist() looks
  bool json = false;                         // the summary as JSON instead of a table
  // Asked ten times a second; true ends the run. `client.retry` should have the same.
  std::function<bool()> stop;
};

// Trains, and writes the summary to `out` and progress to `progress`. The files are written anew
// after each training. In the end all sessions are deleted and all processes gone, also after an
// error; they also end with the calling thread. CANCELLED if `stop` said so, INVALID_ARGUMENT for
// numbers out of their range.
absl::Status RunMnistEs(const MnistEsOptions& options, std::ostream& out, std::FILE* progress);

// What the runs leave in `folder`. For scripts the rows are "runs", and the files are
//   loss_updates, loss_evaluations           SVG: smoothed loss of the minibatches
//   accuracy_updates, accuracy_evaluations   SVG: accuracy on the test set
//   curves                                   curves.csv: one row per update
//   summary                                  summary.csv: one row per run
ReportWriter MnistEsReport(const std::string& folder, absl::Span<const MnistEsRun> runs);

}  // namespace talweg
