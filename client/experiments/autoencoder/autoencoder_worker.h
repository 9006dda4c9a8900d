// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment autoencoder_worker`: one worker process of the training of an autoencoder. All
// workers of a session draw the same batches, and each takes its own part of every batch, so that
// one worker with a batch of 1000 and four workers with 250 images each train on the same images.
//
// What it writes, a line each:
//
//   epoch NUMBER LOSS SECONDS     only worker 0: the mean loss on the whole training set after that
//                                 many passes, and how long the training had taken without the
//                                 tests
//   diverged                      a gradient was not finite, and the worker ends
//   worked COMPUTE_SECONDS WAIT_SECONDS
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/cpp/talweg/client.h"

namespace talweg {

struct AutoencoderWorkerOptions {
  std::string session_id;
  std::string worker;          // its name
  uint64_t index = 0;          // which part of each batch is its own, below `num_workers`
  uint64_t num_workers = 1;    // that share a batch
  uint64_t batch_size = 1000;  // images of all workers together
  uint64_t num_epochs = 10;    // after which it ends
  uint64_t seed = 1;           // of the batches
  bool first_pass = true;      // sends statistics of all images before the first gradient
  uint64_t num_threads = 1;    // of the gradient
  v1::Dtype statistics_dtype = v1::DTYPE_FLOAT32;
  std::string data_dir;        // folder of the data; empty: FindMnist() looks
  std::function<bool()> stop;  // true ends the worker; `client` should have the same
};

// Joins, works, leaves. Returns OK also if the worker was stopped or the session was deleted.
absl::Status RunAutoencoderWorker(const Client& client, const AutoencoderWorkerOptions& options,
                                  std::ostream& out);

inline constexpr absl::string_view kDivergedLine = "diverged";

// What worker 0 told of an epoch.
struct EpochLine {
  uint64_t epoch = 0;
  double loss = 0;
  double seconds = 0;
};
std::string FormatEpochLine(const EpochLine& line);
// Nothing if the line is another one.
std::optional<EpochLine> ParseEpochLine(absl::string_view line);

}  // namespace talweg
