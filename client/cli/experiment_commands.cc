// SPDX-License-Identifier: Apache-2.0
//
// talweg experiment NAME
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/stop_signals.h"
#include "client/experiments/ill_conditioned.h"
#include "client/experiments/mnist.h"
#include "client/experiments/rates.h"

namespace talweg {
namespace {

// Connects and runs, with the flags that every experiment has. What `run` calls invalid was
// mistyped, unless the server said so.
template <class Options>
absl::Status RunExperiment(absl::Status (*run)(const Client&, const Options&, std::ostream&,
                                               std::FILE*),
                           Options options, const Arguments& arguments, std::ostream& out) {
  options.out_dir = arguments.Text("out_dir", options.out_dir);
  options.json = arguments.Has("json");
  options.stop = Stopped;
  StopOnSignals(SecondSignal::kKills);
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments, options.stop);
  if (!client.ok()) return client.status();
  const absl::Status status = run(*client, options, out, stderr);
  const bool mistyped = absl::IsInvalidArgument(status) && ReasonOf(status).empty();
  return mistyped ? UsageError(status.message()) : status;
}

absl::Status RunMnistCommand(const Arguments& arguments, std::ostream& out) {
  MnistOptions options;
  options.methods = absl::StrSplit(arguments.Text("methods"), ',', absl::SkipEmpty());
  if (arguments.Has("methods") && options.methods.empty()) {
    return UsageError("--methods takes names of methods, or all");
  }
  options.data_dir = arguments.Text("data_dir");
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

  return RunExperiment(RunMnist, options, arguments, out);
}

absl::Status RunIllConditionedCommand(const Arguments& arguments, std::ostream& out) {
  IllConditionedOptions options;
  const auto condition = arguments.Number("condition");
  if (!condition.ok()) return condition.status();
  options.condition = condition->value_or(options.condition);
  return RunExperiment(RunIllConditioned, options, arguments, out);
}

absl::Status RunRatesCommand(const Arguments& arguments, std::ostream& out) {
  RatesOptions options;
  const struct {
    const char* flag;
    uint64_t& value;
  } numbers[] = {{"steps", options.num_steps},
                 {"noisy_steps", options.num_noisy_steps},
                 {"seeds", options.num_seeds},
                 {"seed", options.seed}};
  for (const auto& [flag, value] : numbers) {
    const auto number = arguments.Whole(flag);
    if (!number.ok()) return number.status();
    value = number->value_or(value);
  }
  if (options.num_noisy_steps > 10000000 || options.num_seeds > 1000) {
    return UsageError("--noisy_steps takes at most 10000000, --seeds at most 1000");
  }
  return RunExperiment(RunRates, options, arguments, out);
}

}  // namespace

std::vector<Command> ExperimentCommands() {
  const MnistOptions defaults;
  const IllConditionedOptions ill;
  const RatesOptions rates;
  return {
      {"experiment ill_conditioned",
       "",
       "Gradient descent against momentum in a steep valley",
       "A quadratic a thousand times steeper across than along, each rule with the constants of\n"
       "theory: steps needed against steps predicted. Writes paths over the level lines and loss\n"
       "curves (SVG, CSV) and prints a table.\n",
       {{"condition", "NUMBER", "how much steeper (" + absl::StrCat(ill.condition) + ")"},
        {"out_dir", "FOLDER", "where plots and numbers go (" + ill.out_dir + ")"}},
       RunIllConditionedCommand},
      {"experiment rates",
       "",
       "Fit how fast the loss falls, against theory",
       "Convex problems where gradient descent falls like 1/t, Nesterov's method like 1/t^2, and "
       "one\n"
       "noisy example a step like 1/sqrt(t). Writes the curves with fitted lines (SVG, CSV) and "
       "prints\n"
       "the slopes.\n",
       {{"steps", "NUMBER", "of the first two (" + std::to_string(rates.num_steps) + ")"},
        {"noisy_steps", "NUMBER", "of the third (" + std::to_string(rates.num_noisy_steps) + ")"},
        {"seeds", "NUMBER", "sessions to average (" + std::to_string(rates.num_seeds) + ")"},
        {"seed", "NUMBER", "of the noise (" + std::to_string(rates.seed) + ")"},
        {"out_dir", "FOLDER", "where plot and numbers go (" + rates.out_dir + ")"}},
       RunRatesCommand},
      {"experiment mnist",
       "",
       "Train a network on MNIST with each method",
       "A 784-512-512-10 ReLU network: forward and backward run here, parameters and optimizer\n"
       "state live on the server. Writes loss curves (SVG, CSV) and prints a table.\n",
       {{"methods", "A,B", "methods to compare, or all (gradient_descent,momentum,adam)"},
        {"epochs", "NUMBER", "passes over the data (" + std::to_string(defaults.num_epochs) + ")"},
        {"seed", "NUMBER", "of initial values and batches (" + std::to_string(defaults.seed) + ")"},
        {"threads", "NUMBER", "of the network (one for each core, at most 8)"},
        {"out_dir", "FOLDER", "where plot and numbers go (" + defaults.out_dir + ")"},
        {"data_dir", "FOLDER", "where MNIST is; else $TALWEG_DATA_DIR, else beside the program"}},
       RunMnistCommand},
  };
}

}  // namespace talweg
