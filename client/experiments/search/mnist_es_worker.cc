// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/mnist_es_worker.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/mnist/network.h"
#include "client/experiments/mnist/network_session.h"
#include "client/experiments/search/evaluate_leases.h"
#include "client/experiments/search/mnist_losses.h"

namespace talweg {

absl::Status RunMnistEsWorker(const Client& client, const MnistEsWorkerOptions& options,
                              std::ostream& out) {
  const absl::StatusOr<MnistData> data = FindAndLoadMnist(options.data_dir);
  if (!data.ok()) return data.status();
  if (options.batch_size < 1 || options.batch_size > data->train.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a batch has 1 to ", data->train.size(), " images"));
  }
  if (options.capacity < 1 || options.capacity > 131072) {
    return absl::InvalidArgumentError("capacity must be in [1, 131072]");
  }
  const absl::StatusOr<v1::Session> found = client.GetSession(options.session_id);
  if (!found.ok()) return found.status();
  const v1::Layout& layout = found->config().layout();
  const absl::StatusOr<std::vector<size_t>> widths = WidthsOf(layout);
  if (!widths.ok()) return widths.status();
  if (widths->front() != MnistSet::kPixels || widths->back() != 10) {
    return absl::InvalidArgumentError("the session's network is not one for MNIST");
  }
  SetNumBlasThreads(1);
  absl::StatusOr<Session> session = client.Join(options.session_id, options.worker);
  if (!session.ok()) return session.status();

  MnistLosses evaluation(data->train, *widths, options.batch_size);
  uint64_t num_losses = 0;
  absl::Duration evaluating;
  LeaseLoop loop;
  loop.capacity = static_cast<uint32_t>(options.capacity);
  loop.num_examples = options.batch_size;
  loop.stop = options.stop;
  loop.evaluate = [&](const LeasedWork& work, std::vector<double>& losses) {
    const absl::Time begin = absl::Now();
    const absl::Status evaluated = evaluation.Evaluate(work, losses);
    evaluating += absl::Now() - begin;
    num_losses += losses.size();
    return evaluated;
  };
  const absl::Time begin = absl::Now();
  const absl::Status worked = EvaluateLeases(*session, layout, loop);
  out << absl::StrFormat("%d evaluations in %.1f s; waited for %.1f s more\n", num_losses,
                         absl::ToDoubleSeconds(evaluating),
                         absl::ToDoubleSeconds(absl::Now() - begin - evaluating))
      << std::flush;
  const std::string reason = ReasonOf(worked);
  if (reason == "SESSION_DELETED" || reason == "SESSION_NOT_FOUND") return absl::OkStatus();
  if (!worked.ok() && !(options.stop && options.stop())) return worked;
  // If this fails, the lease runs out by itself.
  session->Leave().IgnoreError();
  return absl::OkStatus();
}

}  // namespace talweg
