// SPDX-License-Identifier: Apache-2.0
//
// talweg experiment NAME
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/stop_signals.h"
#include "client/experiments/mnist.h"

namespace talweg {
namespace {

absl::Status RunMnistCommand(const Arguments& arguments, std::ostream& out) {
  MnistOptions options;
  options.methods = absl::StrSplit(arguments.Text("methods"), ',', absl::SkipEmpty());
  options.out_dir = arguments.Text("out_dir", options.out_dir);
  options.data_dir = arguments.Text("data_dir");
  options.json = arguments.Has("json");
  options.stop = Stopped;
  const auto epochs = arguments.Whole("epochs");
  if (!epochs.ok()) return epochs.status();
  if (epochs->value_or(1) < 1 || epochs->value_or(1) > 1000) {
    return UsageError("--epochs takes a number from 1 to 1000");
  }
  options.num_epochs = static_cast<int>(epochs->value_or(options.num_epochs));
  const auto seed = arguments.Whole("seed");
  if (!seed.ok()) return seed.status();
  options.seed = seed->value_or(options.seed);
  const auto threads = arguments.Whole("threads");
  if (!threads.ok()) return threads.status();
  if (threads->value_or(0) > 256) return UsageError("--threads takes at most 256");
  options.num_threads = threads->value_or(0);

  StopOnSignals(SecondSignal::kKills);
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments, options.stop);
  if (!client.ok()) return client.status();
  const absl::Status status = RunMnist(*client, options, out, stderr);
  const bool mistyped = absl::IsInvalidArgument(status) && ReasonOf(status).empty();
  return mistyped ? UsageError(status.message()) : status;
}

}  // namespace

std::vector<Command> ExperimentCommands() {
  const MnistOptions defaults;
  return {
      {"experiment mnist",
       "",
       "Train a network on MNIST with each method",
       "A 784-512-512-10 ReLU network: forward and backward run here, parameters and optimizer\n"
       "state live on the server. Writes loss curves (SVG, CSV) and prints a table.\n",
       {{"methods", "A,B", "methods to compare; all unless said"},
        {"epochs", "NUMBER", "passes over the data (" + std::to_string(defaults.num_epochs) + ")"},
        {"seed", "NUMBER", "of initial values and batches (" + std::to_string(defaults.seed) + ")"},
        {"threads", "NUMBER", "of the network (one for each core, at most 8)"},
        {"out_dir", "FOLDER", "where plot and numbers go (" + defaults.out_dir + ")"},
        {"data_dir", "FOLDER", "where MNIST is; else $TALWEG_DATA_DIR, else beside the program"}},
       RunMnistCommand},
  };
}

}  // namespace talweg
