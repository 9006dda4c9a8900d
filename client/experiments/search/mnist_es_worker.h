// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment mnist_es_worker`: one worker process of a search on MNIST. It takes network
// and perturbations from the session, and tells losses until the search is finished. `mnist_es`
// starts its workers by itself. One more may be started by hand, also on another machine.
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "client/cpp/talweg/client.h"

namespace talweg {

struct MnistEsWorkerOptions {
  std::string session_id;
  std::string worker;          // its name
  uint64_t batch_size = 100;   // images of a loss, in [1, 60000]
  uint64_t capacity = 32;      // pairs that are asked for at a time, in [1, 131072]
  std::string data_dir;        // folder of the data; empty: FindMnist() looks
  std::function<bool()> stop;  // true ends the worker; `client` should have the same
};

// Joins, works, leaves. Writes a line about what it did to `out`. Returns OK also if the worker was
// stopped or the session was deleted.
absl::Status RunMnistEsWorker(const Client& client, const MnistEsWorkerOptions& options,
                              std::ostream& out);

}  // namespace talweg
