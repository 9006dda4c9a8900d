// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/mnist_search.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/experiments/mnist/network_session.h"
#include "client/experiments/runs/own_session.h"
#include "client/experiments/search/evaluate_leases.h"
#include "client/experiments/search/mnist_losses.h"
#include "client/experiments/search/mnist_tester.h"
#include "client/terminal/progress.h"

namespace talweg {
namespace {

constexpr size_t kBatchSize = 100;
constexpr uint32_t kMostPairsOfLease = 32;

v1::CreateSessionRequest MakeRequest(const MnistSearch& search) {
  v1::CreateSessionRequest request;
  request.set_session_id(OwnSessionId("mnist_search"));
  SetNetwork(search.widths, search.seed, request);
  v1::SessionConfig& config = *request.mutable_config();
  config.mutable_optimizer()->mutable_gradient_descent();
  config.mutable_schedule()->set_learning_rate(search.learning_rate);
  *config.mutable_search() = search.policy;
  config.mutable_search()->set_seed(search.seed);
  config.mutable_search()->set_max_generations(static_cast<uint32_t>(search.num_steps));
  return request;
}

// The versions that are to be tested, kept by whichever worker pulls them first. Thread-safe.
class Snapshots {
 public:
  struct Snapshot {
    double seconds = 0;
    std::vector<float> parameters;
  };

  explicit Snapshots(const MnistSearch& search) : search_(search) {
    if (search.progress != nullptr) {
      progress_.emplace(search.progress, IsTerminal(search.progress),
                        absl::StrFormat("%-28s", search.name), search.num_steps);
    }
  }

  void See(uint64_t version, absl::Span<const float> parameters) {
    const absl::Time now = absl::Now();
    const std::lock_guard<std::mutex> lock(mutex_);
    if (kept_.empty()) begin_ = now;
    last_ = std::max(last_, version);
    if (progress_ && progress_->Due(now)) progress_->Draw(last_, "", now);
    const uint64_t every = std::max<uint64_t>(search_.num_steps / search_.num_tests, 1);
    if (version % every != 0 && version != search_.num_steps) return;
    Snapshot& snapshot = kept_[version];
    if (!snapshot.parameters.empty()) return;
    snapshot.seconds = absl::ToDoubleSeconds(now - begin_);
    snapshot.parameters.assign(parameters.begin(), parameters.end());
  }

  void Finish(absl::string_view detail) {
    if (progress_) progress_->Finish(last_, detail);
  }
  // When no worker is at work any more.
  const std::map<uint64_t, Snapshot>& kept() const { return kept_; }

 private:
  const MnistSearch& search_;
  std::mutex mutex_;
  std::optional<Progress> progress_;
  std::map<uint64_t, Snapshot> kept_;  // by version
  uint64_t last_ = 0;
  absl::Time begin_;
};

absl::Status Work(const MnistData& data, const MnistSearch& search, Session& session,
                  const v1::Layout& layout, Snapshots& snapshots) {
  MnistLosses evaluation(data.train, search.widths, kBatchSize);
  LeaseLoop loop;
  loop.capacity = std::clamp<uint32_t>(
      search.policy.num_pairs() / (4 * static_cast<uint32_t>(search.num_workers)), 1,
      kMostPairsOfLease);
  if (search.num_workers == 1) loop.capacity = search.policy.num_pairs();
  loop.num_examples = kBatchSize;
  loop.stop = search.stop;
  loop.evaluate = [&](const LeasedWork& work, std::vector<double>& losses) {
    return evaluation.Evaluate(work, losses);
  };
  loop.see = [&](uint64_t version, absl::Span<const float> parameters) {
    snapshots.See(version, parameters);
    return absl::OkStatus();
  };
  return EvaluateLeases(session, layout, loop);
}

}  // namespace

double MnistSearchRun::AccuracyAt(double seconds) const {
  for (size_t i = 1; i < points.size(); ++i) {
    if (points[i].seconds < seconds) continue;
    const MnistSearchPoint& before = points[i - 1];
    const double span = points[i].seconds - before.seconds;
    const double share = span > 0 ? (seconds - before.seconds) / span : 1;
    return before.test_accuracy + share * (points[i].test_accuracy - before.test_accuracy);
  }
  return points.empty() ? 0 : points.back().test_accuracy;
}

uint64_t EvaluationsOfGeneration(const v1::SearchPolicy& policy) {
  const bool at_random = policy.method() == v1::SEARCH_METHOD_RANDOM_SEARCH;
  const bool one_point = at_random || policy.differences() == v1::DIFFERENCES_ONE_SIDED;
  const bool evaluates = policy.baseline() == v1::BASELINE_EVALUATED ||
                         (at_random && policy.acceptance() != v1::ACCEPTANCE_LOSS_WEIGHTED);
  return uint64_t{policy.num_pairs()} * (one_point ? 1 : 2) + (evaluates ? 1 : 0);
}

absl::StatusOr<MnistSearchRun> SearchOnMnist(const Client& client, const MnistData& data,
                                             const MnistSearch& search) {
  const v1::CreateSessionRequest request = MakeRequest(search);
  const v1::Layout& layout = request.config().layout();
  Snapshots snapshots(search);
  const absl::Status searched = InOwnSession(client, request, [&](Session& session) {
    std::vector<absl::Status> statuses(search.num_workers);
    std::vector<std::thread> threads;
    for (size_t i = 1; i < search.num_workers; ++i) {
      threads.emplace_back([&, i] {
        absl::StatusOr<Session> other =
            client.Join(request.session_id(), absl::StrCat("worker-", i));
        statuses[i] = other.ok() ? Work(data, search, *other, layout, snapshots) : other.status();
      });
    }
    statuses[0] = Work(data, search, session, layout, snapshots);
    for (std::thread& thread : threads) thread.join();
    absl::Status status;
    for (const absl::Status& one : statuses) status.Update(one);
    return status;
  });
  MnistSearchRun run;
  run.search = search;
  if (searched.ok()) {
    MnistTester tester(data.test, search.widths);
    for (const auto& [version, snapshot] : snapshots.kept()) {
      const MnistTester::Result result = tester.Test(snapshot.parameters);
      run.points.push_back({version,
                            static_cast<double>(version * EvaluationsOfGeneration(search.policy)),
                            snapshot.seconds, result.loss, result.accuracy});
    }
  }
  snapshots.Finish(run.points.empty() ? ""
                                      : absl::StrFormat("test %.2f %%  %.1f s",
                                                        100 * run.points.back().test_accuracy,
                                                        run.points.back().seconds));
  if (!searched.ok()) return searched;
  return run;
}

}  // namespace talweg
