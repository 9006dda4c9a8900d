// SPDX-License-Identifier: Apache-2.0
//
// The training of one method on MNIST: the network is here, parameters and optimizer are on the
// server.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/talweg/client.h"
#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/mnist/mnist_methods.h"

namespace talweg {

// What training a method gave.
struct MnistRun {
  std::string method;
  uint64_t batch_size = 0;
  double learning_rate = 0;
  uint64_t num_steps = 0;
  std::vector<double> epochs;         // passes over the data after each step
  std::vector<double> losses;         // mean cross-entropy of each step's batch, in nats
  std::vector<double> test_accuracy;  // share of the test images, after each epoch
  double final_loss = 0;              // mean of the last epoch's losses
  double wall_seconds = 0;            // of the whole training
  double server_seconds = 0;          // the part of them spent waiting for the server
};

struct MnistTraining {
  int num_epochs = 1;
  size_t num_threads = 1;         // of the gradient
  uint64_t seed = 1;              // of the initial values and of the batches
  std::function<bool()> stop;     // asked before each step
  std::FILE* progress = nullptr;  // progress is drawn to it; null: not drawn
};

// Makes a session of its own, trains, and deletes the session, whatever happened. CANCELLED if
// `stop` said so.
absl::StatusOr<MnistRun> TrainMnist(const Client& client, const MnistData& data,
                                    const MnistMethod& method, const MnistTraining& training);

}  // namespace talweg
