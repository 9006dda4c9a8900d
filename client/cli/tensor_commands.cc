// SPDX-License-Identifier: Apache-2.0
//
// talweg step | pull: gradients from, and parameters to, .npy and .npz files.
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/describe.h"
#include "client/cli/stop_signals.h"
#include "client/cli/tensor_file.h"
#include "client/cli/transfer.h"
#include "client/cpp/talweg/status.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

// What came back, without the parameters.
v1::StepResponse ToResponse(const StepResult& result, uint64_t history) {
  v1::StepResponse response;
  response.set_history(history);
  response.set_verdict(result.verdict);
  response.set_replayed(result.replayed);
  response.set_will_not_count(result.will_not_count);
  if (result.fault.has_value()) *response.mutable_fault() = *result.fault;
  response.set_missed_rounds(result.missed_rounds);
  response.set_advice(result.advice);
  response.set_applied_version(result.applied_version);
  response.set_data_version(result.data_version);
  response.set_next_learning_rate(result.next_learning_rate);
  if (result.report.has_value()) *response.mutable_report() = *result.report;
  response.set_num_overflowed(result.num_overflowed);
  if (result.num_overflowed > 0) response.set_first_overflowed(result.first_overflowed);
  return response;
}

// A step's error, with what is known of the contribution: only one with a reason, or of the
// arguments, says that nothing has changed.
absl::Status MayCount(const absl::Status& status, const std::string& session_id) {
  if (!ReasonOf(status).empty() || absl::IsInvalidArgument(status)) return status;
  return absl::Status(status.code(),
                      absl::StrCat(status.message(),
                                   "; the contribution may count all the same: before you send it "
                                   "again ask `talweg session records ",
                                   session_id, "`"));
}

absl::Status RunStep(const Arguments& arguments, std::ostream& out) {
  const bool abstains = arguments.Has("abstain");
  if (abstains == arguments.Has("gradient")) {
    return UsageError(abstains ? "--abstain says that there is no --gradient"
                               : "--gradient is needed, or --abstain");
  }
  const absl::StatusOr<std::optional<double>> loss = arguments.Number("loss");
  if (!loss.ok()) return loss.status();
  std::vector<double> losses;
  if (loss->has_value()) losses.push_back(**loss);
  if (!losses.empty() && !std::isfinite(losses[0])) {
    Tell(absl::StrCat("the loss is ", losses[0],
                      ": it is recorded as it is, and does not keep the gradient from counting"));
  }
  const absl::StatusOr<StepOptions> options = StepOptionsOf(arguments);
  if (!options.ok()) return options.status();
  if (abstains && (!losses.empty() || options->weight.has_value() || options->difference)) {
    return UsageError("--abstain goes without --loss, --weight and --difference");
  }
  std::optional<TensorFile> file;
  if (!abstains) {
    absl::StatusOr<TensorFile> opened = TensorFile::Open(arguments.Text("gradient"));
    if (!opened.ok()) return opened.status();
    file = *std::move(opened);
  }
  if (arguments.Has("output")) {
    const absl::Status writable = CheckWritable(arguments.Text("output"));
    if (!writable.ok()) return writable;
  }
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments, Stopped);
  if (!client.ok()) return client.status();
  // Before the join, which fences: a wrong file must not cost a worker its place.
  const absl::StatusOr<v1::Session> described = client->GetSession(arguments.positional(0));
  if (!described.ok()) return described.status();
  const v1::Layout& layout = described->config().layout();
  std::vector<float> gradient;
  if (file.has_value()) {
    absl::StatusOr<std::vector<float>> read = file->Read(layout);
    if (!read.ok()) return read.status();
    gradient = *std::move(read);
    Tell(file->Note());
  }
  const std::string worker = WorkerAsAsked(arguments);
  absl::StatusOr<Session> session = client->Join(arguments.positional(0), worker);
  if (!session.ok()) return session.status();
  // A worker that stops waiting for others leaves first, so that they do not wait for it.
  StopOnSignals(SecondSignal::kKills);
  std::vector<float> parameters(arguments.Has("output") ? described->num_elements() : 0);
  const absl::StatusOr<StepResult> result =
      session->Step(gradient, absl::MakeSpan(parameters), losses, *options);
  absl::Status status = session->Leave();
  if (!result.ok()) {
    return WithWorker(MayCount(result.status(), arguments.positional(0)), worker);
  }
  // What became of the contribution is said whatever else fails: it cannot be asked again.
  if (arguments.Has("json")) {
    status.Update(PrintJson(ToResponse(*result, session->history()), out));
  } else {
    out << StepTable(*result);
    if (result->verdict == v1::VERDICT_PENDING && !parameters.empty()) {
      out << "no new parameters before the last contribution to them; nothing written\n";
    }
  }
  const bool has_point = result->applied() || result->verdict == v1::VERDICT_ABSTAINED;
  absl::Status judged = StepError(*result, layout);
  absl::Status came = result->pending() ? absl::OkStatus()
                                        : NonFiniteError(parameters, result->num_overflowed,
                                                         result->first_overflowed, layout);
  // The parameters that came with a refusal are not written, but may say why it was refused.
  if (!has_point && !judged.ok() && !came.ok()) {
    judged = absl::Status(judged.code(), absl::StrCat(judged.message(), "; ", came.message()));
  }
  status.Update(judged);
  status.Update(came);
  const absl::Status overflow =
      OverflowError(result->num_overflowed, result->first_overflowed, layout);
  // Nobody shall take the step again for this.
  status.Update(overflow.ok() || !result->applied()
                    ? overflow
                    : absl::Status(overflow.code(),
                                   absl::StrCat("the step was taken, but ", overflow.message())));
  if (has_point && !parameters.empty()) {
    status.Update(WriteTensors(arguments.Text("output"), layout, parameters));
  }
  return status;
}

absl::Status RunPull(const Arguments& arguments, std::ostream& out) {
  if (!arguments.Has("output")) return UsageError("--output is needed");
  const absl::StatusOr<PullOptions> options = PullOptionsOf(arguments);
  if (!options.ok()) return options.status();
  const absl::Status writable = CheckWritable(arguments.Text("output"));
  if (!writable.ok()) return writable;
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments);
  if (!client.ok()) return client.status();
  const absl::StatusOr<v1::Session> session = client->GetSession(arguments.positional(0));
  if (!session.ok()) return session.status();
  if (options->point == v1::POINT_AVERAGE && session->config().average().decay() == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("session \"", session->session_id(),
                     "\" keeps no average of its parameters; one is kept "
                     "from the start on: talweg session create ... --average_decay 0.999"));
  }
  std::vector<float> parameters(session->num_elements());
  const absl::StatusOr<PulledVersion> pulled =
      client->Pull(arguments.positional(0), absl::MakeSpan(parameters), *options);
  if (!pulled.ok()) return pulled.status();
  const absl::Status written =
      WriteTensors(arguments.Text("output"), session->config().layout(), parameters);
  if (!written.ok()) return written;
  absl::Status status;
  if (arguments.Has("json")) {
    v1::PullResponse response;
    response.set_history(pulled->history);
    response.set_version(pulled->version);
    response.set_num_elements(parameters.size());
    response.set_next_learning_rate(pulled->next_learning_rate);
    response.set_num_overflowed(pulled->num_overflowed);
    if (pulled->num_overflowed > 0) response.set_first_overflowed(pulled->first_overflowed);
    status = PrintJson(response, out);
  } else {
    out << GroupDigits(parameters.size()) << " elements of version " << pulled->version << " in "
        << arguments.Text("output") << "\n";
  }
  status.Update(NonFiniteError(parameters, pulled->num_overflowed, pulled->first_overflowed,
                               session->config().layout()));
  status.Update(
      OverflowError(pulled->num_overflowed, pulled->first_overflowed, session->config().layout()));
  return status;
}

}  // namespace

std::vector<Command> TensorCommands() {
  return {
      {"step",
       "ID",
       "Contribute one gradient, taken at the current version or an older one",
       "Joins, steps once and leaves. Another process that works under the same name is\n"
       "fenced, so give each a name of its own with --worker; what it contributed before\n"
       "counts. If the session makes versions of many workers, waits for the others: as\n"
       "long as that takes, unless --timeout is given. A worker counts once per version:\n"
       "what it sends again before that version is made is refused then. Ends with 1 if\n"
       "the verdict refuses the gradient, or if the new parameters are not all finite, on the\n"
       "server or in the --dtype that they come in.\n",
       {{"gradient", "FILE", "the gradient: .npy in one dimension, or .npz by tensor"},
        {"output", "FILE", "where the new parameters go, if the step was taken: .npy or .npz"},
        {"point", "POINT", "what comes back: parameters (default), or lookahead"},
        {"dtype", "DTYPE", "how numbers travel: float32 (default), bfloat16, float16"},
        {"checksums", "", "check what travels, both ways"},
        {"worker", "NAME", WorkerFlagHelp("who contributes")},
        {"base_version", "VERSION", "at which the gradient was taken (the current one)"},
        {"loss", "NUMBER", "the loss at that version"},
        {"weight", "NUMBER", "of the contribution in the mean, such as its samples (1)"},
        {"difference", "",
         "the file holds no gradient, but what own steps added to the parameters"},
        {"close_round", "", "make the version with what has come, this gradient included"},
        {"abstain", "", "there is no gradient this time: nobody is to wait for this worker"},
        {"no_wait", "", "do not wait for other workers: end where the contribution is pending"}},
       RunStep},
      {"pull",
       "ID",
       "Write the current parameters to a file",
       "With --min_version, waits as long as that takes, unless --timeout is given. Ends with 1,\n"
       "but writes the file, if parameters are not finite, on the server or in the --dtype that\n"
       "they come in.\n",
       {{"output", "FILE",
         "where they go: FILE.npz has each tensor by its name, else a .npy of one dimension"},
        {"point", "POINT",
         "parameters (default), lookahead, or average, if the session has an --average_decay"},
        {"dtype", "DTYPE", "how numbers travel: float32 (default), bfloat16, float16"},
        {"checksums", "", "check what travels"},
        {"min_version", "VERSION", "wait until the session is at this version"}},
       RunPull},
  };
}

}  // namespace talweg
