// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/autoencoder/autoencoder.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "client/experiments/autoencoder/autoencoder_report.h"
#include "client/experiments/autoencoder/autoencoder_shape.h"
#include "client/experiments/autoencoder/autoencoder_training.h"
#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/plots/report_files.h"

namespace talweg {
namespace {

// Times the rates at which momentum and Adam were published.
constexpr double kSweep[] = {1, 3, 10, 30};
constexpr double kMomentumRate = 0.003;
constexpr double kAdamRate = 1e-4;

absl::StatusOr<std::vector<AutoencoderMethod>> MethodsOf(const std::vector<std::string>& names,
                                                         const std::vector<size_t>& widths) {
  std::vector<std::string> wanted = names;
  if (wanted.empty()) {
    wanted = {"kfac", "kfac_background", "kfac_4", "kfac_4_background", "momentum", "adam"};
  }
  std::vector<AutoencoderMethod> methods;
  for (const std::string& name : wanted) {
    if (name == "kfac" || name == "kfac_background") {
      methods.push_back(KfacMethod(widths, 1, name == "kfac"));
    } else if (name == "kfac_4" || name == "kfac_4_background") {
      methods.push_back(KfacMethod(widths, 4, name == "kfac_4"));
    } else if (name == "momentum") {
      for (const double factor : kSweep) methods.push_back(MomentumMethod(kMomentumRate * factor));
    } else if (name == "adam") {
      for (const double factor : kSweep) methods.push_back(AdamMethod(kAdamRate * factor));
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("no method \"", name,
                       "\" here; there are: kfac, kfac_background, kfac_4, kfac_4_background, "
                       "momentum, adam"));
    }
  }
  return methods;
}

}  // namespace

absl::Status RunAutoencoder(const AutoencoderOptions& options, std::ostream& out,
                            std::FILE* progress) {
  if (options.num_epochs > 1000) return absl::InvalidArgumentError("epochs must be at most 1000");
  AutoencoderTraining training;
  training.server = options.server;
  training.client = options.client;
  training.widths.assign(std::begin(kMnistAutoencoderWidths), std::end(kMnistAutoencoderWidths));
  if (options.quick) training.widths = {MnistSet::kPixels, 100, 20, 100, MnistSet::kPixels};
  training.num_epochs = options.num_epochs > 0 ? options.num_epochs : options.quick ? 2 : 10;
  training.seed = options.seed;
  training.data_dir = options.data_dir;
  training.stop = options.stop;
  training.progress = progress;
  const absl::StatusOr<std::vector<AutoencoderMethod>> methods =
      MethodsOf(options.methods, training.widths);
  if (!methods.ok()) return methods.status();
  const absl::Status made = MakeFolder(options.out_dir);
  if (!made.ok()) return made;

  std::vector<AutoencoderRun> runs;
  for (const AutoencoderMethod& method : *methods) {
    absl::StatusOr<AutoencoderRun> run = TrainAutoencoder(method, training);
    if (!run.ok()) return run.status();
    runs.push_back(*std::move(run));
    // Each training takes minutes: what is there so far must not be lost with the next one.
    const absl::Status written = AutoencoderReport(options.out_dir, runs).Write();
    if (!written.ok()) return written;
  }
  return AutoencoderReport(options.out_dir, runs).Deliver(options.json, out);
}

}  // namespace talweg
