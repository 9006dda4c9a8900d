// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment autoencoder`: an autoencoder of MNIST with eight layers, trained by K-FAC, and
// by momentum and Adam at the best of several rates, each in worker processes of its own.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/cpp/talweg/client.h"

namespace talweg {

struct AutoencoderOptions {
  std::string server;       // address
  ClientOptions client;     // of this process; workers have their own
  bool quick = false;       // a narrow network and two epochs: a minute
  uint64_t num_epochs = 0;  // 0: 10; 2 with `quick`
  // "kfac", "kfac_background", "kfac_4", "kfac_4_background", "momentum", "adam"; empty: all.
  std::vector<std::string> methods;
  uint64_t seed = 1;  // of the initial values, the batches and the samples
  std::string out_dir = "results/autoencoder";
  std::string data_dir;  // folder of the data; empty: FindMnist() looks
  bool json = false;     // the summary as JSON instead of a table
  std::function<bool()> stop;
};

// Trains, writes plot and CSV, prints the summary to `out` and progress to `progress`. CANCELLED if
// `stop` said so. INVALID_ARGUMENT for an unknown method or too many epochs.
absl::Status RunAutoencoder(const AutoencoderOptions& options, std::ostream& out,
                            std::FILE* progress);

}  // namespace talweg
