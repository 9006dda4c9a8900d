// SPDX-License-Identifier: Apache-2.0
//
// One training of `mnist_es`: by a search with worker processes, or by backpropagation.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/talweg/client.h"
#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/search/mnist_es_run.h"

namespace talweg {

struct MnistEsTraining {
  std::string server;  // HOST:PORT
  ClientOptions client;
  std::vector<size_t> widths;
  uint64_t num_pairs = 0;  // 0: backpropagation
  uint64_t num_steps = 1;
  uint64_t seed = 1;
  uint64_t num_workers = 1;
  double sigma = 0.005;
  std::string data_dir;           // for the workers
  std::function<bool()> stop;     // asked ten times a second
  std::FILE* progress = nullptr;  // null: not drawn
};

// Makes a session of its own, and deletes it, whatever happened.
absl::StatusOr<MnistEsRun> TrainMnistEs(const MnistData& data, const MnistEsTraining& training);

}  // namespace talweg
