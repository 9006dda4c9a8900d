// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/mnist.h"

#include <algorithm>
#include <iterator>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/mnist/mnist_methods.h"
#include "client/experiments/mnist/mnist_report.h"
#include "client/experiments/mnist/mnist_training.h"
#include "client/experiments/mnist/network.h"
#include "client/experiments/plots/report_files.h"

namespace talweg {
namespace {

constexpr size_t kMostThreads = 8;  // a batch of 128 has no work for more

absl::StatusOr<std::vector<MnistMethod>> ChosenMethods(const std::vector<std::string>& names) {
  const absl::Span<const MnistMethod> all = MnistMethods();
  std::vector<MnistMethod> chosen;
  if (names.empty()) {
    std::copy_if(all.begin(), all.end(), std::back_inserter(chosen),
                 [](const MnistMethod& method) { return method.by_default; });
    return chosen;
  }
  if (names.size() == 1 && names[0] == "all") return {{all.begin(), all.end()}};
  for (const std::string& name : names) {
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const MnistMethod& m) { return m.name == name; });
    if (found == all.end()) {
      const std::string known = absl::StrJoin(
          all, ", ", [](std::string* out, const MnistMethod& m) { absl::StrAppend(out, m.name); });
      return absl::InvalidArgumentError(
          absl::StrCat("no method \"", name, "\" here; there are: all, ", known));
    }
    chosen.push_back(*found);
  }
  return chosen;
}

}  // namespace

absl::Status RunMnist(const Client& client, const MnistOptions& options, std::ostream& out,
                      std::FILE* progress) {
  if (options.num_epochs < 1) return absl::InvalidArgumentError("epochs must be at least 1");
  const absl::StatusOr<std::vector<MnistMethod>> methods = ChosenMethods(options.methods);
  if (!methods.ok()) return methods.status();
  const absl::StatusOr<MnistData> data = FindAndLoadMnist(options.data_dir);
  if (!data.ok()) return data.status();
  // Before minutes of training: a wrong name must not cost their results.
  const absl::Status made = MakeFolder(options.out_dir);
  if (!made.ok()) return made;

  SetNumBlasThreads(1);
  const size_t cores = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, kMostThreads);
  MnistTraining training;
  training.num_epochs = options.num_epochs;
  training.num_threads = options.num_threads > 0 ? options.num_threads : cores;
  training.seed = options.seed;
  training.stop = options.stop;
  training.progress = progress;
  std::vector<MnistRun> runs;
  for (const MnistMethod& method : *methods) {
    absl::StatusOr<MnistRun> run = TrainMnist(client, *data, method, training);
    if (!run.ok()) return run.status();
    runs.push_back(*std::move(run));
  }
  return MnistReport(options.out_dir, runs).Deliver(options.json, out);
}

}  // namespace talweg
