// SPDX-License-Identifier: Apache-2.0
//
// talweg experiment NAME, for the experiments that train by curvature
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "client/cli/command.h"
#include "client/cli/experiment_support.h"
#include "client/cpp/talweg/worker_name.h"
#include "client/experiments/autoencoder/autoencoder.h"
#include "client/experiments/autoencoder/autoencoder_worker.h"

namespace talweg {
namespace {

absl::Status RunAutoencoderCommand(const Arguments& arguments, std::ostream& out) {
  AutoencoderOptions options;
  options.quick = arguments.Has("quick");
  options.data_dir = arguments.Text("data_dir");
  options.methods = absl::StrSplit(arguments.Text("methods"), ',', absl::SkipEmpty());
  const absl::Status read =
      ReadWhole(arguments, {{"epochs", options.num_epochs}, {"seed", options.seed}});
  if (!read.ok()) return read;
  return RunExperimentOfProcesses(RunAutoencoder, options, arguments, out);
}

absl::Status RunAutoencoderWorkerCommand(const Arguments& arguments, std::ostream& out) {
  AutoencoderWorkerOptions options;
  options.session_id = arguments.Text("session");
  if (options.session_id.empty()) return UsageError("--session is needed");
  options.worker = arguments.Text("worker", WorkerName());
  options.data_dir = arguments.Text("data_dir");
  options.first_pass = !arguments.Has("no_first_pass");
  const absl::Status read = ReadWhole(arguments, {{"index", options.index},
                                                  {"workers", options.num_workers},
                                                  {"batch", options.batch_size},
                                                  {"epochs", options.num_epochs},
                                                  {"seed", options.seed},
                                                  {"threads", options.num_threads}});
  if (!read.ok()) return read;
  options.stop = Stopped;
  StopOnSignals(SecondSignal::kKills);
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments, options.stop);
  if (!client.ok()) return client.status();
  return Mistyped(RunAutoencoderWorker(*client, options, out));
}

Flag DataDir() {
  return {"data_dir", "FOLDER", "where MNIST is; else $TALWEG_DATA_DIR, else beside the program"};
}

}  // namespace

std::vector<Command> CurvatureExperimentCommands() {
  std::vector<Command> commands = {
      {"experiment autoencoder",
       "",
       "Train an autoencoder by K-FAC, beside momentum and Adam",
       "The autoencoder 784-1000-500-250-30-250-500-1000-784 on MNIST, batch 1000, by K-FAC with\n"
       "one worker and with four, with inverses within the steps and beside them; and by momentum\n"
       "and Adam at four rates each. Workers are processes; they send gradients and, for K-FAC, "
       "the\n"
       "inputs and derivatives of each layer. Writes loss against epochs and against seconds "
       "(SVG,\n"
       "CSV) and prints a table beside the published losses. Takes about an hour on two cores.\n",
       {{"quick", "", "a narrow network and two epochs: a minute"},
        {"methods", "A,B",
         "of kfac, kfac_background, kfac_4, kfac_4_background, momentum, adam (all)"},
        {"epochs", "NUMBER", "passes over the data (10; 2 with --quick)"},
        {"seed", "NUMBER", "of all that is drawn (1)"},
        {"out_dir", "FOLDER", "where plots and numbers go (results/autoencoder)"},
        DataDir()},
       RunAutoencoderCommand}};
  for (Command& command : commands) command.starts_server = true;
  commands.push_back(
      {"experiment autoencoder_worker",
       "",
       "Train the autoencoder: what `experiment autoencoder` starts",
       "One worker process. Joins a session of `experiment autoencoder`, and sends gradients of "
       "its\n"
       "part of each batch and, if the session has layers, their statistics, until the session is\n"
       "at its last version.\n",
       {{"session", "ID", "the session to work on; needed"},
        {"worker", "NAME", "its name; else one of the environment, see $TALWEG_WORKER"},
        {"index", "NUMBER", "which part of each batch is its own (0)"},
        {"workers", "NUMBER", "workers that share a batch (1)"},
        {"batch", "NUMBER", "images of all workers together (1000)"},
        {"epochs", "NUMBER", "passes over the data, after which it ends (10)"},
        {"seed", "NUMBER", "of the batches; the same for all workers (1)"},
        {"threads", "NUMBER", "of the gradient (1)"},
        {"no_first_pass", "", "send no statistics of all images before the first gradient"},
        DataDir()},
       RunAutoencoderWorkerCommand,
       /*hidden=*/true});
  return commands;
}

}  // namespace talweg
