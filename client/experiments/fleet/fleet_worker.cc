// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/fleet/fleet_worker.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/experiments/fleet/worker_line.h"
#include "client/experiments/mnist/mnist_batches.h"
#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/mnist/network.h"
#include "client/experiments/mnist/network_session.h"
#include "client/experiments/mnist/parallel_gradient.h"
#include "client/experiments/runs/stream_seed.h"

namespace talweg {
namespace {

constexpr absl::Duration kLookEvery = absl::Milliseconds(20);  // whether to stop, while it sleeps

// The loop around one session.
class Worker {
 public:
  Worker(const FleetWorkerOptions& options, const MnistData& data,
         const std::vector<size_t>& widths, Session session, std::ostream& out)
      : options_(options),
        data_(data),
        network_(widths, 1),
        session_(std::move(session)),
        out_(out),
        stream_(data.train.size(), options.batch_size,
                StreamSeed(options.seed, options.worker, options.life)),
        parameters_(network_.num_parameters()),
        gradient_(network_.num_parameters()) {}

  absl::Status Run() {
    absl::Status status = session_.Pull(absl::MakeSpan(parameters_)).status();
    while (status.ok() && session_.version() < options_.num_versions && !Stopped()) {
      status = Contribute();
      if (ReasonOf(status) == "HISTORY_CHANGED") status = StartOver();
    }
    if (ReasonOf(status) == "SESSION_DELETED" || ReasonOf(status) == "SESSION_NOT_FOUND") {
      return absl::OkStatus();
    }
    if (!status.ok() && !Stopped()) return status;
    // If this fails, the lease runs out by itself.
    session_.Leave().IgnoreError();
    return absl::OkStatus();
  }

 private:
  bool Stopped() const { return options_.stop && options_.stop(); }

  absl::Status Contribute() {
    WorkerStep said;
    const absl::Time begin = absl::Now();
    batch_.Fill(data_.train, stream_.Next());
    const BatchResult result =
        network_.Gradient(parameters_, batch_.inputs, batch_.labels, absl::MakeSpan(gradient_));
    const absl::Duration worked = std::max(absl::Now() - begin, options_.pace);
    SleepUntil(begin + worked * options_.slowdown);
    if (Stopped()) return absl::OkStatus();
    const absl::Time sent = absl::Now();
    const absl::StatusOr<StepResult> step =
        session_.Step(gradient_, absl::MakeSpan(parameters_), {result.loss});
    if (!step.ok()) return step.status();
    said.verdict = step->verdict;
    said.version = step->data_version;
    said.loss = result.loss;
    said.compute_seconds = absl::ToDoubleSeconds(sent - begin);
    said.wait_seconds = absl::ToDoubleSeconds(absl::Now() - sent);
    out_ << FormatWorkerStep(said) << "\n" << std::flush;
    return out_ ? absl::OkStatus() : absl::DataLossError("standard output takes no more");
  }

  // The session lost or changed its past.
  absl::Status StartOver() {
    absl::Status status = session_.Reattach().status();
    status.Update(session_.Pull(absl::MakeSpan(parameters_)).status());
    return status;
  }

  void SleepUntil(absl::Time end) const {
    for (absl::Time now = absl::Now(); now < end && !Stopped(); now = absl::Now()) {
      absl::SleepFor(std::min(end - now, kLookEvery));
    }
  }

  const FleetWorkerOptions& options_;
  const MnistData& data_;
  ParallelGradient network_;
  Session session_;
  std::ostream& out_;
  BatchStream stream_;
  MnistBatch batch_;
  std::vector<float> parameters_;
  std::vector<float> gradient_;
};

}  // namespace

absl::Status RunFleetWorker(const Client& client, const FleetWorkerOptions& options,
                            std::ostream& out) {
  const absl::StatusOr<MnistData> data = FindAndLoadMnist(options.data_dir);
  if (!data.ok()) return data.status();
  if (options.batch_size < 1 || options.batch_size > data->train.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a batch has 1 to ", data->train.size(), " images"));
  }
  const absl::StatusOr<v1::Session> found = client.GetSession(options.session_id);
  if (!found.ok()) return found.status();
  const absl::StatusOr<std::vector<size_t>> widths = WidthsOf(found->config().layout());
  if (!widths.ok()) return widths.status();
  if (widths->front() != MnistSet::kPixels || widths->back() != 10) {
    return absl::InvalidArgumentError("the session's network is not one for MNIST");
  }
  SetNumBlasThreads(1);
  absl::StatusOr<Session> session = client.Join(options.session_id, options.worker);
  if (!session.ok()) return session.status();
  return Worker(options, *data, *widths, *std::move(session), out).Run();
}

}  // namespace talweg
