// SPDX-License-Identifier: Apache-2.0
//
// talweg experiment NAME, for the experiments that search without gradients
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/command.h"
#include "client/cli/experiment_support.h"
#include "client/cpp/talweg/worker_name.h"
#include "client/experiments/search/blackbox.h"
#include "client/experiments/search/directional_derivative.h"
#include "client/experiments/search/low_rank.h"
#include "client/experiments/search/mnist_es.h"
#include "client/experiments/search/mnist_es_worker.h"
#include "client/experiments/search/random_search.h"
#include "client/experiments/search/random_search_rate.h"

namespace talweg {
namespace {

absl::Status RunMnistEsCommand(const Arguments& arguments, std::ostream& out) {
  MnistEsOptions options;
  options.quick = arguments.Has("quick");
  options.data_dir = arguments.Text("data_dir");
  for (const absl::string_view text :
       absl::StrSplit(arguments.Text("pairs"), ',', absl::SkipEmpty())) {
    if (!absl::SimpleAtoi(text, &options.pairs.emplace_back())) {
      return UsageError("--pairs takes whole numbers");
    }
  }
  uint64_t num_steps = 0;
  const absl::Status read = ReadWhole(arguments, {{"steps", num_steps},
                                                  {"seeds", options.num_seeds},
                                                  {"seed", options.seed},
                                                  {"workers", options.num_workers}});
  if (!read.ok()) return read;
  if (arguments.Has("steps")) options.num_steps = num_steps;
  const auto sigma = arguments.Number("sigma");
  if (!sigma.ok()) return sigma.status();
  options.sigma = sigma->value_or(options.sigma);
  return RunExperimentOfProcesses(RunMnistEs, options, arguments, out);
}

absl::Status RunMnistEsWorkerCommand(const Arguments& arguments, std::ostream& out) {
  MnistEsWorkerOptions options;
  options.session_id = arguments.Text("session");
  if (options.session_id.empty()) return UsageError("--session is needed");
  options.worker = arguments.Text("worker", WorkerName());
  options.data_dir = arguments.Text("data_dir");
  const absl::Status read =
      ReadWhole(arguments, {{"batch", options.batch_size}, {"capacity", options.capacity}});
  if (!read.ok()) return read;
  options.stop = Stopped;
  StopOnSignals(SecondSignal::kKills);
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments, options.stop);
  if (!client.ok()) return client.status();
  return Mistyped(RunMnistEsWorker(*client, options, out));
}

// The flags that all the others have: --quick and --seed.
template <class Options>
absl::Status ReadCommon(const Arguments& arguments, Options& options) {
  options.quick = arguments.Has("quick");
  return ReadWhole(arguments, {{"seed", options.seed}});
}

absl::Status RunLowRankCommand(const Arguments& arguments, std::ostream& out) {
  LowRankOptions options;
  absl::Status read = ReadCommon(arguments, options);
  read.Update(ReadWhole(arguments, {{"workers", options.num_workers}}));
  if (!read.ok()) return read;
  options.data_dir = arguments.Text("data_dir");
  return RunExperiment(RunLowRank, options, arguments, out);
}

absl::Status RunRandomSearchRateCommand(const Arguments& arguments, std::ostream& out) {
  RandomSearchRateOptions options;
  const absl::Status read = ReadCommon(arguments, options);
  if (!read.ok()) return read;
  return RunExperiment(RunRandomSearchRate, options, arguments, out);
}

absl::Status RunDirectionalDerivativeCommand(const Arguments& arguments, std::ostream& out) {
  DirectionalDerivativeOptions options;
  const absl::Status read = ReadCommon(arguments, options);
  if (!read.ok()) return read;
  options.data_dir = arguments.Text("data_dir");
  return RunExperiment(RunDirectionalDerivative, options, arguments, out);
}

absl::Status RunRandomSearchCommand(const Arguments& arguments, std::ostream& out) {
  RandomSearchOptions options;
  const absl::Status read = ReadCommon(arguments, options);
  if (!read.ok()) return read;
  options.data_dir = arguments.Text("data_dir");
  return RunExperiment(RunRandomSearch, options, arguments, out);
}

absl::Status RunBlackboxCommand(const Arguments& arguments, std::ostream& out) {
  BlackboxOptions options;
  const absl::Status read = ReadCommon(arguments, options);
  if (!read.ok()) return read;
  return RunExperiment(RunBlackbox, options, arguments, out);
}

Flag Quick() { return {"quick", "", "a small part of it: seconds"}; }
Flag Seed() { return {"seed", "NUMBER", "of all that is drawn (1)"}; }
Flag DataDir() {
  return {"data_dir", "FOLDER", "where MNIST is; else $TALWEG_DATA_DIR, else beside the program"};
}
Flag OutDir(const std::string& folder) {
  return {"out_dir", "FOLDER", absl::StrCat("where plots and numbers go (", folder, ")")};
}

Command MnistEsCommand() {
  const MnistEsOptions defaults;
  return {
      "experiment mnist_es",
      "",
      "Train on MNIST by an evolution strategy, without gradients",
      "A 784-512-512-10 network, trained by worker processes that only evaluate its loss, beside\n"
      "backpropagation with the same rate and images. A sample is a pair of perturbations: two\n"
      "evaluations. Writes loss and test accuracy against updates and against evaluations (SVG,\n"
      "CSV) and prints a table. Takes about half an hour on two cores.\n",
      {{"quick", "", "a narrow network and few pairs: a minute"},
       {"pairs", "A,B", "pairs per update of each training; 0: backpropagation (0,1600,5000)"},
       {"steps", "NUMBER", "updates (100; 60 with --quick)"},
       {"sigma", "NUMBER", "deviation of a perturbation (" + absl::StrCat(defaults.sigma) + ")"},
       {"workers", "NUMBER", "processes (one for each core)"},
       {"seeds", "NUMBER", "trainings of each kind (1)"},
       {"seed", "NUMBER", "of the first training (1)"},
       OutDir(defaults.out_dir),
       DataDir()},
      RunMnistEsCommand};
}

Command MnistEsWorkerCommand() {
  return {
      "experiment mnist_es_worker",
      "",
      "Evaluate for a search: what `experiment mnist_es` starts",
      "One worker process. Joins a session of `experiment mnist_es`, asks for pairs, tells their\n"
      "losses until the search is finished, and leaves. Started by hand it joins a search that\n"
      "is at work, also from another machine.\n",
      {{"session", "ID", "the session to work on; needed"},
       {"worker", "NAME", "its name; else one of the environment, see $TALWEG_WORKER"},
       {"batch", "NUMBER", "images of a loss; the same for all workers (100)"},
       {"capacity", "NUMBER", "pairs that it asks for at a time (32)"},
       DataDir()},
      RunMnistEsWorkerCommand,
      /*hidden=*/true};
}

Command LowRankCommand() {
  return {
      "experiment low_rank",
      "",
      "Perturb matrices by low rank, against dense perturbations",
      "A 784-512-512-10 network on MNIST, searched with perturbations that are dense, of rank 1\n"
      "and of rank 4: accuracy at equal evaluations and at equal wall time. Writes plots (SVG,\n"
      "CSV) and prints a table.\n",
      {Quick(),
       {"workers", "NUMBER", "threads that evaluate (one for each core)"},
       Seed(),
       OutDir(LowRankOptions().out_dir),
       DataDir()},
      RunLowRankCommand};
}

Command RandomSearchRateCommand() {
  return {
      "experiment random_search_rate",
      "",
      "Fit how a search's error depends on its numbers",
      "A convex loss on which two-point search is as slow as theory allows. Fits the exponents of\n"
      "the error in the dimension, in the pairs and in the updates, against sqrt(d / M) / "
      "sqrt(T).\n"
      "Writes a plot (SVG, CSV) and prints a table.\n",
      {Quick(), Seed(), OutDir(RandomSearchRateOptions().out_dir)},
      RunRandomSearchRateCommand};
}

Command DirectionalDerivativeCommand() {
  return {
      "experiment directional_derivative",
      "",
      "How small sigma may be before rounding takes over",
      "Differences of two losses against the exact derivative along the noise, as sigma goes\n"
      "down; then searches with exact derivatives and with differences. Writes a plot (SVG, CSV)\n"
      "and prints tables.\n",
      {Quick(), Seed(), OutDir(DirectionalDerivativeOptions().out_dir), DataDir()},
      RunDirectionalDerivativeCommand};
}

Command RandomSearchCommand() {
  return {
      "experiment random_search",
      "",
      "One evaluation per perturbation, against pairs",
      "A 784-32-10 network on MNIST by random search, which keeps the best perturbation or weighs\n"
      "perturbations by their loss, and by an evolution strategy, at equal evaluations. Writes\n"
      "plots (SVG, CSV) and prints a table.\n",
      {Quick(), Seed(), OutDir(RandomSearchOptions().out_dir), DataDir()},
      RunRandomSearchCommand};
}

Command BlackboxCommand() {
  return {"experiment blackbox",
          "",
          "Search on Rosenbrock, Rastrigin and a step ellipsoid",
          "In 10, 100 and 1,000 dimensions, by an evolution strategy with ranks and Adam and by "
          "random\n"
          "search, at equal evaluations. Writes plots (SVG, CSV) and prints a table.\n",
          {Quick(), Seed(), OutDir(BlackboxOptions().out_dir)},
          RunBlackboxCommand};
}

}  // namespace

std::vector<Command> SearchExperimentCommands() {
  std::vector<Command> commands = {MnistEsCommand(),          LowRankCommand(),
                                   RandomSearchRateCommand(), DirectionalDerivativeCommand(),
                                   RandomSearchCommand(),     BlackboxCommand()};
  for (Command& command : commands) command.starts_server = true;
  commands.push_back(MnistEsWorkerCommand());  // which joins a search that is at work
  return commands;
}

}  // namespace talweg
