// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/mnist_es.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/mnist/network.h"
#include "client/experiments/search/mnist_es_training.h"

namespace talweg {
namespace {

constexpr uint64_t kMostWorkers = 256;

absl::Status Check(const MnistEsOptions& options) {
  const auto wrong = [](absl::string_view text) { return absl::InvalidArgumentError(text); };
  for (const uint64_t pairs : options.pairs) {
    if (pairs > 131072) return wrong("pairs must be in [0, 131072]");
  }
  if (options.num_steps && (*options.num_steps < 1 || *options.num_steps > 100000)) {
    return wrong("steps must be in [1, 100000]");
  }
  if (options.num_seeds < 1 || options.num_seeds > 100) return wrong("seeds must be in [1, 100]");
  if (options.num_workers > kMostWorkers) {
    return wrong(absl::StrCat("workers must be at most ", kMostWorkers));
  }
  // Also refuses what is not a number.
  if (!(options.sigma > 0 && options.sigma <= 1)) return wrong("sigma must be in (0, 1]");
  return absl::OkStatus();
}

}  // namespace

absl::Status RunMnistEs(const MnistEsOptions& options, std::ostream& out, std::FILE* progress) {
  const absl::Status checked = Check(options);
  if (!checked.ok()) return checked;
  const absl::StatusOr<MnistData> data = FindAndLoadMnist(options.data_dir);
  if (!data.ok()) return data.status();
  SetNumBlasThreads(1);

  MnistEsTraining training;
  training.server = options.server;
  training.client = options.client;
  training.widths = {MnistSet::kPixels, 512, 512, 10};
  if (options.quick) training.widths = {MnistSet::kPixels, 32, 10};
  training.num_steps = options.num_steps.value_or(options.quick ? 60 : 100);
  training.num_workers = options.num_workers;
  if (training.num_workers == 0) {
    training.num_workers = std::clamp<uint64_t>(std::thread::hardware_concurrency(), 1, 64);
  }
  training.sigma = options.sigma;
  training.data_dir = options.data_dir;
  training.stop = options.stop;
  training.progress = progress;
  std::vector<uint64_t> pairs = options.pairs;
  if (pairs.empty()) {
    pairs =
        options.quick ? std::vector<uint64_t>{0, 200, 800} : std::vector<uint64_t>{0, 1600, 5000};
  }
  std::vector<MnistEsRun> runs;
  for (uint64_t i = 0; i < options.num_seeds; ++i) {
    for (const uint64_t num_pairs : pairs) {
      training.num_pairs = num_pairs;
      training.seed = options.seed + i;
      absl::StatusOr<MnistEsRun> run = TrainMnistEs(*data, training);
      if (!run.ok()) return run.status();
      runs.push_back(*std::move(run));
      // Each training may take an hour: what is there so far must not be lost with the next one.
      const absl::Status written = MnistEsReport(options.out_dir, runs).Write();
      if (!written.ok()) return written;
    }
  }
  return MnistEsReport(options.out_dir, runs).Deliver(options.json, out);
}

}  // namespace talweg
