// SPDX-License-Identifier: Apache-2.0
//
// One training of the autoencoder: a session on a server, and worker processes that train in it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/talweg/client.h"
#include "client/experiments/autoencoder/autoencoder_worker.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg {

// How it is trained.
struct AutoencoderMethod {
  std::string name;  // in tables, curves and files
  double learning_rate = 0;
  uint64_t num_workers = 1;
  std::function<void(v1::SessionConfig& config)> set;  // the optimizer, and its layers
};

struct AutoencoderRun {
  std::string name;
  double learning_rate = 0;
  uint64_t num_workers = 1;
  std::vector<EpochLine> epochs;       // what worker 0 told
  bool diverged = false;               // a gradient was not finite: it ended early
  std::vector<double> losses;          // of each step's batch
  std::vector<double> server_seconds;  // that each step took the server
  v1::CurvatureReport curvature;       // of the last step; empty without K-FAC
  uint64_t largest_inverse_age = 0;    // in steps, of all steps

  // The mean loss on the training set after that many epochs; NaN if it was not told.
  double LossAfter(uint64_t epoch) const;
  double TrainingSeconds() const { return epochs.empty() ? 0 : epochs.back().seconds; }
};

struct AutoencoderTraining {
  std::string server;  // address
  ClientOptions client;
  std::vector<size_t> widths;
  uint64_t batch_size = 1000;  // of all workers together
  uint64_t num_epochs = 10;
  uint64_t seed = 1;
  std::string data_dir;
  std::function<bool()> stop;
  std::FILE* progress = nullptr;
};

// Makes a session, starts the workers, follows it to its end, and deletes it, whatever happened.
// CANCELLED if `stop` said so.
absl::StatusOr<AutoencoderRun> TrainAutoencoder(const AutoencoderMethod& method,
                                                const AutoencoderTraining& training);

// Momentum, Adam, and K-FAC with the settings of Goldfarb, Ren, Bahamou 2020.
AutoencoderMethod MomentumMethod(double learning_rate);
AutoencoderMethod AdamMethod(double learning_rate);
AutoencoderMethod KfacMethod(const std::vector<size_t>& widths, uint64_t num_workers,
                             bool synchronous);

}  // namespace talweg
