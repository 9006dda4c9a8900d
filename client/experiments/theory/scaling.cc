// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/theory/scaling.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/experiments/runs/own_session.h"
#include "client/experiments/runs/stream_seed.h"
#include "client/experiments/theory/noisy_valley.h"
#include "client/experiments/theory/quadratic.h"
#include "client/terminal/progress.h"

namespace talweg {
namespace {

constexpr size_t kNumCurvatures = 64;
constexpr size_t kCopies = 32;  // of each: the noise of the loss is as that of the mean of 32 runs
constexpr double kFlattest = 0.01;
constexpr double kSteepest = 1;
constexpr double kShare = 0.01;  // of the loss, that is to be left
constexpr uint64_t kMaxSteps = 100000;
// Beyond theory's steps, until a run is given up as one that does not arrive.
constexpr uint64_t kPatience = 4;

NoisyValley ValleyOf(double noise) {
  return {LogSpaced(kFlattest, kSteepest, kNumCurvatures), noise};
}

double Loss(const NoisyValley& valley, absl::Span<const float> x) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    sum += valley.curvatures[i / kCopies] * x[i] * x[i];
  }
  return sum / 2;
}

bool Arrived(const NoisyValley& valley, absl::Span<const float> x) {
  return Loss(valley, x) <= kShare * kCopies * valley.FirstLoss();
}

// The gradients of one worker: the same seed gives the same noise. No distribution of the
// library's: those differ.
class NoisyGradient {
 public:
  NoisyGradient(const NoisyValley& valley, uint64_t seed) : valley_(valley), random_(seed) {
    for (const double h : valley.curvatures) deviations_.push_back(std::sqrt(valley.noise * h));
  }

  void Take(absl::Span<const float> x, absl::Span<float> gradient) {
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t index = i / kCopies;
      // Uniform, of variance 1.
      const double noise =
          std::sqrt(3.0) * (2 * static_cast<double>(random_() >> 11) * 0x1p-53 - 1);
      gradient[i] =
          static_cast<float>(valley_.curvatures[index] * x[i] + deviations_[index] * noise);
    }
  }

 private:
  const NoisyValley& valley_;
  std::mt19937_64 random_;
  std::vector<double> deviations_;
};

// One worker: where it stands, and what it contributes.
struct ValleyWorker {
  ValleyWorker(Session joined, const NoisyValley& valley, uint64_t seed)
      : session(std::move(joined)),
        gradients(valley, seed),
        x(kNumCurvatures * kCopies),
        gradient(x.size()) {}

  absl::Status Pull() { return session.Pull(absl::MakeSpan(x)).status(); }

  absl::StatusOr<StepResult> Contribute() {
    gradients.Take(x, absl::MakeSpan(gradient));
    absl::StatusOr<StepResult> step = session.Step(gradient, absl::MakeSpan(x));
    if (step.ok() && !step->applied()) {
      return absl::InternalError(absl::StrCat(session.worker(), " got ",
                                              v1::Verdict_Name(step->verdict), " at version ",
                                              step->applied_version));
    }
    return step;
  }

  Session session;
  NoisyGradient gradients;
  std::vector<float> x;
  std::vector<float> gradient;
};

// One point: a session, its workers, and their way down.
class ScalingDescent {
 public:
  ScalingDescent(const Client& client, const ScalingOptions& options, const NoisyValley& valley,
                 bool accurate, uint64_t num_workers)
      : client_(client), options_(options), valley_(valley), accurate_(accurate) {
    point_.num_workers = num_workers;
    DescentScheme scheme;
    if (accurate) {
      scheme.averaged = num_workers;
    } else {
      scheme.delay = num_workers - 1;
    }
    const TunedRate tuned = TuneRate(valley, scheme, kShare, kMaxSteps);
    point_.rate = tuned.rate;
    point_.expected = static_cast<double>(tuned.steps) / (accurate ? 1 : num_workers);
    max_versions_ = kPatience * tuned.steps;
  }

  absl::StatusOr<ScalingPoint> Run() {
    session_id_ = OwnSessionId("scaling");
    const absl::StatusOr<v1::Session> created = client_.CreateSession(Request());
    if (!created.ok()) return created.status();
    absl::Status status = JoinAll();
    if (status.ok()) status = accurate_ ? InRounds() : InTurn();
    const absl::Status deleted = client_.DeleteSession(session_id_, created->history());
    // If a worker failed, the session is deleted already.
    status.Update(ReasonOf(deleted) == "SESSION_NOT_FOUND" ? absl::OkStatus() : deleted);
    if (!status.ok()) return status;
    if (!arrived_) {
      return absl::InternalError(absl::StrCat(point_.num_workers, " workers did not arrive within ",
                                              max_versions_, " versions"));
    }
    point_.gradients = static_cast<double>(point_.versions) /
                       (accurate_ ? 1 : static_cast<double>(point_.num_workers));
    return point_;
  }

 private:
  v1::CreateSessionRequest Request() const {
    v1::CreateSessionRequest request;
    request.set_session_id(session_id_);
    v1::SessionConfig& config = *request.mutable_config();
    v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
    tensor.set_name("x");
    tensor.add_shape(kNumCurvatures);
    tensor.add_shape(kCopies);
    config.mutable_optimizer()->mutable_gradient_descent();
    config.mutable_schedule()->set_learning_rate(point_.rate);
    v1::AggregationPolicy& policy = *config.mutable_aggregation();
    if (accurate_) {
      policy.set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
      policy.set_close(v1::CLOSE_RULE_ALL);
      policy.set_min_workers(point_.num_workers);
    } else {
      policy.set_mode(v1::AGGREGATION_MODE_ASYNCHRONOUS);
      policy.set_max_staleness(point_.num_workers - 1);
    }
    v1::InitialValueRule& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
    rule.set_tensors("x");
    rule.mutable_constant()->set_value(1);
    return request;
  }

  absl::Status JoinAll() {
    for (uint64_t i = 0; i < point_.num_workers; ++i) {
      const std::string name = absl::StrCat("worker-", i);
      absl::StatusOr<Session> session = client_.Join(session_id_, name);
      if (!session.ok()) return session.status();
      workers_.push_back(std::make_unique<ValleyWorker>(*std::move(session), valley_,
                                                        StreamSeed(options_.seed, name, 0)));
      const absl::Status pulled = workers_.back()->Pull();
      if (!pulled.ok()) return pulled;
    }
    return absl::OkStatus();
  }

  bool Stopped() const { return options_.stop && options_.stop(); }

  // A thread a worker. All have the same parameters after each round, so all see at the same time
  // that they have arrived.
  absl::Status InRounds() {
    std::vector<absl::Status> statuses(workers_.size());
    std::atomic<bool> failed{false};
    const auto work = [&](size_t index) {
      ValleyWorker& worker = *workers_[index];
      while (!Arrived(valley_, worker.x) && worker.session.version() < max_versions_) {
        absl::Status status = worker.Contribute().status();
        if (status.ok() && Stopped()) status = absl::CancelledError("stopped");
        if (status.ok()) continue;
        // The others wait for it in their round: this ends their waits, with errors that say less.
        if (failed.exchange(true)) return;
        statuses[index] = status;
        client_.DeleteSession(session_id_).IgnoreError();
        return;
      }
    };
    std::vector<std::thread> threads;
    for (size_t i = 1; i < workers_.size(); ++i) threads.emplace_back(work, i);
    work(0);
    for (std::thread& thread : threads) thread.join();
    for (const absl::Status& status : statuses) {
      if (!status.ok()) return status;
    }
    arrived_ = Arrived(valley_, workers_[0]->x);
    point_.versions = workers_[0]->session.version();
    return absl::OkStatus();
  }

  // One after the other: each contribution is made of what its worker got a turn ago.
  absl::Status InTurn() {
    for (uint64_t version = 0; version < max_versions_; ++version) {
      if (Stopped()) return absl::CancelledError("stopped");
      ValleyWorker& worker = *workers_[version % workers_.size()];
      const absl::StatusOr<StepResult> step = worker.Contribute();
      if (!step.ok()) return step.status();
      point_.versions = step->applied_version;
      point_.staleness = std::max<uint64_t>(point_.staleness, step->report->staleness());
      arrived_ = Arrived(valley_, worker.x);
      if (arrived_) return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  const Client& client_;
  const ScalingOptions& options_;
  const NoisyValley& valley_;
  const bool accurate_;
  uint64_t max_versions_ = 0;
  std::string session_id_;
  ScalingPoint point_;
  bool arrived_ = false;
  std::vector<std::unique_ptr<ValleyWorker>> workers_;
};

absl::Status Check(const ScalingOptions& options) {
  if (options.max_workers < 1 || options.max_workers > 256) {
    return absl::InvalidArgumentError("max_workers must be in [1, 256]");
  }
  if (options.noises.empty() || options.noises.size() > 6) {
    return absl::InvalidArgumentError("noise takes 1 to 6 numbers");
  }
  for (const double noise : options.noises) {
    // Also refuses what is not a number.
    if (!(noise >= 0.001 && noise <= 1)) {
      return absl::InvalidArgumentError("noise must be in [0.001, 1]");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<ScalingRun>> MeasureScaling(const Client& client,
                                                       const ScalingOptions& options,
                                                       std::FILE* progress_out) {
  const absl::Status checked = Check(options);
  if (!checked.ok()) return checked;
  uint64_t num_points = 0;
  for (uint64_t n = 1; n <= options.max_workers; n *= 2) num_points += 2;
  std::vector<ScalingRun> runs;
  for (const double noise : options.noises) {
    ScalingRun& run = runs.emplace_back();
    run.noise = noise;
    const NoisyValley valley = ValleyOf(noise);
    std::optional<Progress> progress;
    if (progress_out != nullptr) {
      progress.emplace(progress_out, IsTerminal(progress_out), absl::StrFormat("noise %-5g", noise),
                       num_points);
    }
    uint64_t done = 0;
    std::string detail;
    for (uint64_t n = 1; n <= options.max_workers; n *= 2) {
      for (const bool accurate : {true, false}) {
        absl::StatusOr<ScalingPoint> point =
            ScalingDescent(client, options, valley, accurate, n).Run();
        if (!point.ok()) {
          if (progress) progress->Finish(done, detail);
          return point.status();
        }
        detail = absl::StrFormat("%d workers, %s: %.1f gradients each", n,
                                 accurate ? "accurate" : "frequent", point->gradients);
        (accurate ? run.accurate : run.frequent).push_back(*std::move(point));
        ++done;
        if (progress && progress->Due(absl::Now())) progress->Draw(done, detail, absl::Now());
      }
    }
    if (progress) progress->Finish(done, detail);
  }
  return runs;
}

absl::Status RunScaling(const Client& client, const ScalingOptions& options, std::ostream& out,
                        std::FILE* progress) {
  const auto runs = MeasureScaling(client, options, progress);
  if (!runs.ok()) return runs.status();
  return ScalingReport(options.out_dir, *runs).Deliver(options.json, out);
}

}  // namespace talweg
