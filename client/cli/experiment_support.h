// SPDX-License-Identifier: Apache-2.0
//
// What all commands of experiments do alike: the flags that every one has, and a server.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cli/arguments.h"
#include "client/cli/context.h"
#include "client/cli/stop_signals.h"
#include "client/process/own_server.h"

namespace talweg {

// The UsageError that says what `status` says, if an experiment calls a number invalid: it was
// mistyped, unless the server said so. Else `status`.
absl::Status Mistyped(const absl::Status& status);

// The server that is named, else one of its own, which ends with this value.
struct ExperimentServer {
  std::string address;
  std::unique_ptr<OwnServer> own;
};
absl::StatusOr<ExperimentServer> ServerOfExperiment(const Arguments& arguments);

// Connects and runs, with the flags that every experiment has.
template <class Options>
absl::Status RunExperiment(absl::Status (*run)(const Client&, const Options&, std::ostream&,
                                               std::FILE*),
                           Options options, const Arguments& arguments, std::ostream& out) {
  options.out_dir = arguments.Text("out_dir", options.out_dir);
  options.json = arguments.Has("json");
  options.stop = Stopped;
  StopOnSignals(SecondSignal::kKills);
  const absl::StatusOr<ExperimentServer> server = ServerOfExperiment(arguments);
  if (!server.ok()) return server.status();
  const absl::StatusOr<Client> client = ConnectTo(server->address, arguments, options.stop);
  if (!client.ok()) return client.status();
  return Mistyped(run(*client, options, out, stderr));
}

// The same for an experiment that starts processes, which connect by themselves.
template <class Options>
absl::Status RunExperimentOfProcesses(absl::Status (*run)(const Options&, std::ostream&,
                                                          std::FILE*),
                                      Options options, const Arguments& arguments,
                                      std::ostream& out) {
  options.out_dir = arguments.Text("out_dir", options.out_dir);
  options.json = arguments.Has("json");
  options.stop = Stopped;
  const absl::StatusOr<ClientOptions> client = OptionsAsAsked(arguments, options.stop);
  if (!client.ok()) return client.status();
  options.client = *client;
  // Tidily, however often it is asked: there are processes to stop, and a terminal to restore.
  StopOnSignals(SecondSignal::kIgnored);
  const absl::StatusOr<ExperimentServer> server = ServerOfExperiment(arguments);
  if (!server.ok()) return server.status();
  options.server = server->address;
  return Mistyped(run(options, out, stderr));
}

// "5s", "20ms"; 0 needs no unit. Unset if the flag was not given.
absl::StatusOr<std::optional<absl::Duration>> TimeOf(const Arguments& arguments,
                                                     const std::string& flag);

// Whole numbers of flags that were given.
struct WholeFlag {
  const char* flag;
  uint64_t& value;
};
absl::Status ReadWhole(const Arguments& arguments, absl::Span<const WholeFlag> flags);

}  // namespace talweg
