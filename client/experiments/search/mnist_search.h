// SPDX-License-Identifier: Apache-2.0
//
// A search on MNIST with workers in this process: what the experiments that compare ways to search
// have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/talweg/client.h"
#include "client/experiments/mnist/mnist_data.h"

namespace talweg {

struct MnistSearch {
  std::string name;  // "ES", for the report
  std::vector<size_t> widths;
  uint64_t seed = 1;              // of the initial values and of the perturbations
  double learning_rate = 0;       // of gradient descent
  v1::SearchPolicy policy;        // all of it except seed and max_generations
  uint64_t num_steps = 1;         // updates
  uint64_t num_tests = 40;        // how often the test set is looked at, about
  size_t num_workers = 1;         // threads
  std::function<bool()> stop;     // asked before each lease
  std::FILE* progress = nullptr;  // null: not drawn
};

// After `update` updates.
struct MnistSearchPoint {
  uint64_t update = 0;
  double evaluations = 0;
  double seconds = 0;  // since the first lease; no test lies between
  double test_loss = 0;
  double test_accuracy = 0;  // a share
};

struct MnistSearchRun {
  MnistSearch search;
  std::vector<MnistSearchPoint> points;  // of the versions that were tested, the first and the last
                                         // among them

  // The accuracy at a wall time, between the points before and after it; the last one's behind it.
  double AccuracyAt(double seconds) const;
};

// Evaluations of one generation, those at W among them.
uint64_t EvaluationsOfGeneration(const v1::SearchPolicy& policy);

// Makes a session of its own, searches, and deletes the session, whatever happened. The test set is
// looked at after the search. BLAS should have one thread.
absl::StatusOr<MnistSearchRun> SearchOnMnist(const Client& client, const MnistData& data,
                                             const MnistSearch& search);

}  // namespace talweg
