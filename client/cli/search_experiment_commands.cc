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
#include "client/experiments/search/mnist_es.h"
#include "client/experiments/search/mnist_es_worker.h"

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

}  // namespace

std::vector<Command> SearchExperimentCommands() {
  std::vector<Command> commands = {MnistEsCommand()};
  for (Command& command : commands) command.starts_server = true;
  commands.push_back(MnistEsWorkerCommand());  // which joins a search that is at work
  return commands;
}

}  // namespace talweg
