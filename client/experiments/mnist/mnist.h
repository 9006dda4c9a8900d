// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment mnist`: a 784-512-512-10 ReLU network on MNIST, trained once with each method.
// Forward and backward run here; parameters and optimizer state live on the server.
#pragma once

#include <cstdio>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/cpp/talweg/client.h"

namespace talweg {

struct MnistOptions {
  std::vector<std::string> methods;  // names of MnistMethods(), or "all"; empty: those by default
  int num_epochs = 5;                // passes over the data, >= 1
  uint64_t seed = 1;                 // of the initial values and of the batches
  std::string out_dir = "results/mnist";  // the folder for plot and CSV
  std::string data_dir;                   // folder of the data; empty: FindMnist() looks
  bool json = false;                      // the summary as JSON instead of a table
  size_t num_threads = 0;                 // of the gradient; 0: one for each core, at most 8
  std::function<bool()> stop;             // asked before each step; true ends the run
};

// Trains, writes plot and CSV, prints the summary to `out` and progress to `progress`. Sessions are
// deleted in the end, also after an error. CANCELLED if `stop` said so. INVALID_ARGUMENT for an
// unknown method or too few epochs.
absl::Status RunMnist(const Client& client, const MnistOptions& options, std::ostream& out,
                      std::FILE* progress);

}  // namespace talweg
