// SPDX-License-Identifier: Apache-2.0
//
// talweg experiment NAME
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "client/cli/command.h"
#include "client/cli/experiment_support.h"
#include "client/cli/stop_signals.h"
#include "client/cpp/talweg/worker_name.h"
#include "client/experiments/fleet/fleet.h"
#include "client/experiments/fleet/fleet_worker.h"
#include "client/experiments/mnist/mnist.h"
#include "client/experiments/theory/ill_conditioned.h"
#include "client/experiments/theory/rates.h"
#include "client/experiments/theory/scaling.h"

namespace talweg {
namespace {

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
  const absl::Status read = ReadWhole(arguments, {{"steps", options.num_steps},
                                                  {"noisy_steps", options.num_noisy_steps},
                                                  {"seeds", options.num_seeds},
                                                  {"seed", options.seed}});
  if (!read.ok()) return read;
  if (options.num_noisy_steps > 10000000 || options.num_seeds > 1000) {
    return UsageError("--noisy_steps takes at most 10000000, --seeds at most 1000");
  }
  return RunExperiment(RunRates, options, arguments, out);
}

absl::Status RunScalingCommand(const Arguments& arguments, std::ostream& out) {
  ScalingOptions options;
  const absl::Status read =
      ReadWhole(arguments, {{"max_workers", options.max_workers}, {"seed", options.seed}});
  if (!read.ok()) return read;
  if (arguments.Has("noise")) {
    options.noises.clear();
    for (const absl::string_view text : absl::StrSplit(arguments.Text("noise"), ',')) {
      double& noise = options.noises.emplace_back();
      if (!absl::SimpleAtod(text, &noise)) return UsageError("--noise takes numbers");
    }
  }
  return RunExperiment(RunScaling, options, arguments, out);
}

absl::Status RunFleetCommand(const Arguments& arguments, std::ostream& out) {
  FleetOptions options;
  options.mode = arguments.Text("mode", options.mode);
  options.compare = arguments.Has("compare");
  if (options.compare && arguments.Has("mode")) {
    return UsageError("--compare runs every mode, --mode only one");
  }
  if (arguments.Has("k") && !options.compare && options.mode != "k_of_n") {
    return UsageError("--k is for --mode k_of_n and --compare");
  }
  options.data_dir = arguments.Text("data_dir");
  uint64_t k = 0;
  uint64_t num_rounds = 0;
  const absl::Status read = ReadWhole(arguments, {{"workers", options.num_workers},
                                                  {"k", k},
                                                  {"rounds", num_rounds},
                                                  {"batch", options.batch_size},
                                                  {"lease_seconds", options.lease_seconds},
                                                  {"seed", options.seed}});
  if (!read.ok()) return read;
  if (arguments.Has("k")) options.k = k;
  if (arguments.Has("rounds")) options.num_rounds = num_rounds;
  const auto slowdown = arguments.Number("straggler");
  if (!slowdown.ok()) return slowdown.status();
  options.slowdown = *slowdown;
  const auto pace = TimeOf(arguments, "pace");
  if (!pace.ok()) return pace.status();
  options.pace = *pace;
  const auto kill_every = TimeOf(arguments, "kill_every");
  if (!kill_every.ok()) return kill_every.status();
  options.kill_every = kill_every->value_or(options.kill_every);
  if (kill_every->has_value() && options.kill_every <= absl::ZeroDuration()) {
    return UsageError("--kill_every takes a time above 0");
  }
  return RunExperimentOfProcesses(RunFleet, options, arguments, out);
}

absl::Status RunFleetWorkerCommand(const Arguments& arguments, std::ostream& out) {
  FleetWorkerOptions options;
  options.session_id = arguments.Text("session");
  if (options.session_id.empty()) return UsageError("--session is needed");
  options.worker = arguments.Text("worker", WorkerName());
  options.data_dir = arguments.Text("data_dir");
  options.num_versions = std::numeric_limits<uint64_t>::max();
  const absl::Status read = ReadWhole(arguments, {{"versions", options.num_versions},
                                                  {"batch", options.batch_size},
                                                  {"life", options.life},
                                                  {"seed", options.seed}});
  if (!read.ok()) return read;
  const auto slowdown = arguments.Number("slowdown");
  if (!slowdown.ok()) return slowdown.status();
  options.slowdown = slowdown->value_or(options.slowdown);
  if (!(options.slowdown >= 1)) return UsageError("--slowdown takes a number from 1 on");
  const auto pace = TimeOf(arguments, "pace");
  if (!pace.ok()) return pace.status();
  options.pace = pace->value_or(options.pace);
  options.stop = Stopped;
  StopOnSignals(SecondSignal::kKills);
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments, options.stop);
  if (!client.ok()) return client.status();
  return Mistyped(RunFleetWorker(*client, options, out));
}

Command IllConditionedCommand() {
  const IllConditionedOptions defaults;
  return {
      "experiment ill_conditioned",
      "",
      "Gradient descent against momentum in a steep valley",
      "A quadratic a thousand times steeper across than along, each rule with the constants of\n"
      "theory: steps needed against steps predicted. Writes paths over the level lines and loss\n"
      "curves (SVG, CSV) and prints a table.\n",
      {{"condition", "NUMBER", "how much steeper (" + absl::StrCat(defaults.condition) + ")"},
       {"out_dir", "FOLDER", "where plots and numbers go (" + defaults.out_dir + ")"}},
      RunIllConditionedCommand};
}

Command RatesCommand() {
  const RatesOptions defaults;
  return {
      "experiment rates",
      "",
      "Fit how fast the loss falls, against theory",
      "Convex problems where gradient descent falls like 1/t, Nesterov's method like 1/t^2, and "
      "one\n"
      "noisy example a step like 1/sqrt(t). Writes the curves with fitted lines (SVG, CSV) and "
      "prints\n"
      "the slopes.\n",
      {{"steps", "NUMBER", "of the first two (" + std::to_string(defaults.num_steps) + ")"},
       {"noisy_steps", "NUMBER", "of the third (" + std::to_string(defaults.num_noisy_steps) + ")"},
       {"seeds", "NUMBER", "sessions to average (" + std::to_string(defaults.num_seeds) + ")"},
       {"seed", "NUMBER", "of the noise (" + std::to_string(defaults.seed) + ")"},
       {"out_dir", "FOLDER", "where plot and numbers go (" + defaults.out_dir + ")"}},
      RunRatesCommand};
}

Command MnistCommand() {
  const MnistOptions defaults;
  return {
      "experiment mnist",
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
      RunMnistCommand};
}

Command FleetCommand() {
  const FleetOptions defaults;
  return {
      "experiment fleet",
      "",
      "Train on MNIST with many worker processes",
      "A 784-128-10 network: each worker is a process of its own that contributes gradients of "
      "its\n"
      "own batches. Draws the fleet at work, writes the loss against rounds and against time "
      "(SVG,\n"
      "CSV), and prints a table. A round is a gradient of every worker.\n",
      {{"workers", "NUMBER", "processes (" + std::to_string(defaults.num_workers) + ")"},
       {"mode", "MODE",
        "synchronous, bounded_staleness, asynchronous, k_of_n (" + defaults.mode + ")"},
       {"k", "NUMBER", "contributions that close a round of k_of_n (all workers but one)"},
       {"rounds", "NUMBER", "to train (1000; 300 with --compare)"},
       {"batch", "NUMBER", "images of a gradient (" + std::to_string(defaults.batch_size) + ")"},
       {"kill_every", "TIME", "kill -9 a worker at random, such as every 5s, and start it again"},
       {"straggler", "FACTOR", "how much slower the last worker is (1; 10 with --compare)"},
       {"pace", "TIME", "what a gradient takes at least (0s; 20ms with --compare)"},
       {"compare", "", "every mode, one after the other, with a straggler"},
       {"lease_seconds", "NUMBER",
        "after which a silent worker is given up (" + std::to_string(defaults.lease_seconds) + ")"},
       {"seed", "NUMBER",
        "of initial values, batches and kills (" + std::to_string(defaults.seed) + ")"},
       {"out_dir", "FOLDER", "where plots and numbers go (" + defaults.out_dir + ")"},
       {"data_dir", "FOLDER", "where MNIST is; else $TALWEG_DATA_DIR, else beside the program"}},
      RunFleetCommand};
}

Command FleetWorkerCommand() {
  return {
      "experiment fleet_worker",
      "",
      "Work in a fleet: what `experiment fleet` starts",
      "One worker process. Joins a session of `experiment fleet`, contributes gradients until it "
      "is\n"
      "at its last version, and leaves. Prints a line for each contribution:\n"
      "  step VERDICT VERSION LOSS COMPUTE_SECONDS WAIT_SECONDS\n"
      "Started by hand it joins a fleet that is at work, also from another machine.\n",
      {{"session", "ID", "the session to work on; needed"},
       {"worker", "NAME", "its name; else one of the environment, see $TALWEG_WORKER"},
       {"versions", "NUMBER", "it ends when the session has that many (never)"},
       {"batch", "NUMBER", "images of a gradient (128)"},
       {"seed", "NUMBER", "of its batches, with its name and --life (1)"},
       {"life", "NUMBER", "processes it had before this one (0)"},
       {"pace", "TIME", "what a gradient takes at least (0s)"},
       {"slowdown", "FACTOR", "and then so many times as long (1)"},
       {"data_dir", "FOLDER", "where MNIST is; else $TALWEG_DATA_DIR, else beside the program"}},
      RunFleetWorkerCommand,
      /*hidden=*/true};
}

Command ScalingCommand() {
  const ScalingOptions defaults;
  return {"experiment scaling",
          "",
          "More accurate gradients against more frequent updates",
          "A noisy quadratic, descended by 1, 2, 4, ... workers: in synchronous rounds, which "
          "average\n"
          "their gradients, and in turn, each contribution a step. Counts the gradients that each\n"
          "worker takes until 1 % of the loss is left, beside theory's number. Writes a plot (SVG, "
          "CSV)\n"
          "and prints a table.\n",
          {{"max_workers", "NUMBER",
            "up to which to double (" + std::to_string(defaults.max_workers) + ")"},
           {"noise", "A,B",
            "variances of the gradients' noise, times curvature (" +
                absl::StrJoin(defaults.noises, ",") + ")"},
           {"seed", "NUMBER", "of the noise (" + std::to_string(defaults.seed) + ")"},
           {"out_dir", "FOLDER", "where plot and numbers go (" + defaults.out_dir + ")"}},
          RunScalingCommand};
}

}  // namespace

std::vector<Command> ExperimentCommands() {
  std::vector<Command> commands = {IllConditionedCommand(), RatesCommand(), MnistCommand(),
                                   FleetCommand(), ScalingCommand()};
  for (Command& command : commands) command.starts_server = true;
  commands.push_back(FleetWorkerCommand());  // which joins a fleet that is at work
  for (Command& command : SearchExperimentCommands()) commands.push_back(std::move(command));
  for (Command& command : CurvatureExperimentCommands()) commands.push_back(std::move(command));
  return commands;
}

}  // namespace talweg
