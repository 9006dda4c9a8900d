// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/theory/rates.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <optional>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/experiments/theory/descent.h"
#include "client/experiments/theory/quadratic.h"
#include "client/terminal/progress.h"

namespace talweg {
namespace {

// The smooth problem.
constexpr size_t kNumEigenvalues = 200;
constexpr double kFlattest = 1e-8;
constexpr double kSteepest = 1;
// The noisy one.
constexpr size_t kNumFeatures = 8;
constexpr size_t kNumOutputs = 16;
constexpr double kNoisyRate = 2.0 / kNumFeatures;

// Draws progress from any thread.
class SharedProgress {
 public:
  SharedProgress(std::FILE* out, absl::string_view label, uint64_t total) {
    if (out != nullptr) {
      progress_.emplace(out, IsTerminal(out), absl::StrFormat("%-33s", label), total);
    }
  }
  void Add() {
    if (!progress_) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    ++done_;
    const absl::Time now = absl::Now();
    if (progress_->Due(now)) progress_->Draw(done_, "", now);
  }
  void Finish(absl::string_view detail) {
    if (progress_) progress_->Finish(done_, detail);
  }

 private:
  std::mutex mutex_;
  std::optional<Progress> progress_;
  uint64_t done_ = 0;
};

std::string SlopeText(const RatesRun& run) { return absl::StrFormat("slope %.3f", run.fit.slope); }

// The last decade of the steps.
void Fit(RatesRun& run) {
  run.last = run.losses.size();
  run.first = run.last / 10;
  run.fit = FitPowerLaw(run.losses, run.first, run.last);
}

// One descent of the smooth problem; `bound` is theory's at the last step.
absl::StatusOr<RatesRun> DescendSmooth(const Client& client, const RatesOptions& options,
                                       Descent descent, RatesRun run, double bound,
                                       std::FILE* progress_out) {
  const Quadratic quadratic = {LogSpaced(kFlattest, kSteepest, kNumEigenvalues)};
  descent.name = "rates-" + run.method;
  descent.start.assign(kNumEigenvalues, 1.0f);
  descent.num_steps = options.num_steps;
  descent.stop = options.stop;
  descent.gradient = [&](absl::Span<const float> point, absl::Span<float> gradient) {
    quadratic.Gradient(point, gradient);
  };
  const double first_loss = quadratic.Loss(descent.start);
  SharedProgress progress(progress_out, run.name, options.num_steps);
  descent.see = [&](uint64_t step, absl::Span<const float> parameters) {
    if (step == 0) return true;
    run.losses.push_back(quadratic.Loss(parameters) / first_loss);
    progress.Add();
    return true;
  };
  const absl::Status status = Descend(client, descent);
  if (status.ok()) Fit(run);
  progress.Finish(status.ok() ? SlopeText(run) : "");
  if (!status.ok()) return status;
  run.bound_share = run.losses.back() * first_loss / bound;
  return run;
}

absl::StatusOr<RatesRun> DescendByGradient(const Client& client, const RatesOptions& options,
                                           std::FILE* progress) {
  RatesRun run;
  run.name = "gradient_descent";
  run.method = "gradient_descent";
  run.theory = -1;
  Descent descent;
  descent.optimizer.mutable_gradient_descent();
  descent.schedule.set_learning_rate(1 / kSteepest);
  const double t = static_cast<double>(options.num_steps);
  return DescendSmooth(client, options, descent, run, kSteepest * kNumEigenvalues / (4 * t + 2),
                       progress);
}

absl::StatusOr<RatesRun> DescendByNesterov(const Client& client, const RatesOptions& options,
                                           std::FILE* progress) {
  RatesRun run;
  run.name = "nesterov, growing momentum";
  run.method = "nesterov";
  run.theory = -2;
  Descent descent;
  descent.lookahead = true;
  descent.optimizer.mutable_nesterov()->set_dialect(v1::DIALECT_TUTORIAL);
  descent.schedule.set_learning_rate(1 / kSteepest);
  descent.retune = [](uint64_t step, v1::UpdateSessionRequest& update) {
    const double s = static_cast<double>(step);
    v1::SessionConfig& config = *update.mutable_config();
    config.mutable_optimizer()->mutable_nesterov()->set_beta((s - 1) / (s + 3));
    config.mutable_schedule()->set_learning_rate((s + 3) / (4 * kSteepest));
    update.mutable_update_mask()->add_paths("optimizer.nesterov.beta");
    update.mutable_update_mask()->add_paths("schedule.learning_rate");
  };
  const double t = static_cast<double>(options.num_steps);
  return DescendSmooth(client, options, descent, run,
                       2 * kSteepest * kNumEigenvalues / ((t + 1) * (t + 1)), progress);
}

// Fresh examples of y = W* a + noise. No distribution of the library's: those differ.
class Examples {
 public:
  explicit Examples(uint64_t seed) : random_(seed) {}

  // The gradient of half the squared error on the next example; `w` is [outputs, features].
  void Gradient(absl::Span<const float> w, absl::Span<float> gradient) {
    double features[kNumFeatures];
    const uint64_t signs = random_();
    for (size_t i = 0; i < kNumFeatures; ++i) features[i] = (signs >> i & 1) != 0 ? 1 : -1;
    for (size_t row = 0; row < w.size(); row += kNumFeatures) {
      double error = -Noise();
      for (size_t i = 0; i < kNumFeatures; ++i) error += features[i] * (w[row + i] - kTruth);
      for (size_t i = 0; i < kNumFeatures; ++i) {
        gradient[row + i] = static_cast<float>(error * features[i]);
      }
    }
  }
  // Loss expected of the next example beyond that of W*.
  static double Excess(absl::Span<const float> w) {
    double sum = 0;
    for (const float value : w) sum += (value - kTruth) * (value - kTruth);
    return sum / 2;
  }

 private:
  static constexpr double kTruth = 1;  // each element of W*; the start is 0
  // Uniform, of variance 1.
  double Noise() {
    return std::sqrt(3.0) * (2 * static_cast<double>(random_() >> 11) * 0x1p-53 - 1);
  }

  std::mt19937_64 random_;
};

absl::Status DescendNoisy(const Client& client, const RatesOptions& options, uint64_t seed,
                          std::vector<double>& losses, SharedProgress& progress) {
  Examples examples(seed);
  Descent descent;
  descent.name = "rates-noisy";
  descent.optimizer.mutable_gradient_descent();
  descent.schedule.set_learning_rate(kNoisyRate);
  descent.schedule.mutable_inverse_sqrt();
  descent.start.assign(kNumOutputs * kNumFeatures, 0.0f);
  descent.num_steps = options.num_noisy_steps;
  descent.stop = options.stop;
  descent.gradient = [&](absl::Span<const float> point, absl::Span<float> gradient) {
    examples.Gradient(point, gradient);
  };
  const double first_loss = Examples::Excess(descent.start);
  descent.see = [&](uint64_t step, absl::Span<const float> parameters) {
    if (step == 0) return true;
    losses.push_back(Examples::Excess(parameters) / first_loss);
    progress.Add();
    return true;
  };
  return Descend(client, descent);
}

// The mean of all `curves` but the one at `without`.
std::vector<double> MeanWithout(absl::Span<const std::vector<double>> curves, size_t without) {
  std::vector<double> mean(curves[0].size());
  const double count = static_cast<double>(curves.size() - (without < curves.size() ? 1 : 0));
  for (size_t i = 0; i < curves.size(); ++i) {
    if (i == without) continue;
    for (size_t t = 0; t < mean.size(); ++t) mean[t] += curves[i][t] / count;
  }
  return mean;
}

// Jackknife: how the slope varies when one of the seeds is left out.
double SlopeError(absl::Span<const std::vector<double>> curves, const RatesRun& run) {
  std::vector<double> slopes;
  double mean = 0;
  for (size_t i = 0; i < curves.size(); ++i) {
    slopes.push_back(FitPowerLaw(MeanWithout(curves, i), run.first, run.last).slope);
    mean += slopes.back() / static_cast<double>(curves.size());
  }
  double squares = 0;
  for (const double slope : slopes) squares += (slope - mean) * (slope - mean);
  const double count = static_cast<double>(curves.size());
  return std::sqrt(squares * (count - 1) / count);
}

absl::StatusOr<RatesRun> DescendByExamples(const Client& client, const RatesOptions& options,
                                           std::FILE* progress_out) {
  RatesRun run;
  run.name = absl::StrCat("noisy, 1/sqrt(t) rate, ", options.num_seeds, " seeds");
  run.method = "gradient_descent";
  run.theory = -0.5;
  std::vector<std::vector<double>> curves(options.num_seeds);
  std::vector<absl::Status> statuses(options.num_seeds);
  SharedProgress progress(progress_out, run.name, options.num_seeds * options.num_noisy_steps);
  std::mt19937_64 seeds(options.seed);
  std::vector<uint64_t> drawn(options.num_seeds);
  for (uint64_t& seed : drawn) seed = seeds();
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  const auto work = [&] {
    for (size_t i = next++; i < curves.size() && !failed; i = next++) {
      statuses[i] = DescendNoisy(client, options, drawn[i], curves[i], progress);
      if (!statuses[i].ok()) failed = true;
    }
  };
  const size_t cores = std::max<size_t>(std::thread::hardware_concurrency(), 1);
  const size_t num_threads = options.num_threads > 0 ? options.num_threads : cores;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < std::min(num_threads, curves.size()); ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  absl::Status status;
  for (const absl::Status& one : statuses) status.Update(one);
  if (status.ok()) {
    run.losses = MeanWithout(curves, curves.size());
    Fit(run);
    run.slope_error = SlopeError(curves, run);
  }
  progress.Finish(status.ok() ? SlopeText(run) : "");
  if (!status.ok()) return status;
  return run;
}

}  // namespace

double RatesRun::Deviation() const { return std::abs(fit.slope - theory) / std::abs(theory); }

absl::StatusOr<std::vector<RatesRun>> MeasureRates(const Client& client,
                                                   const RatesOptions& options,
                                                   std::FILE* progress) {
  if (options.num_steps < 100 || options.num_steps > 3000) {
    // With more steps Nesterov would see that the curvatures end.
    return absl::InvalidArgumentError("steps must be in [100, 3000]");
  }
  if (options.num_noisy_steps < 100 || options.num_seeds < 2) {
    return absl::InvalidArgumentError("noisy steps must be at least 100, seeds at least 2");
  }
  std::vector<RatesRun> runs;
  for (const auto measure : {DescendByGradient, DescendByNesterov, DescendByExamples}) {
    absl::StatusOr<RatesRun> run = measure(client, options, progress);
    if (!run.ok()) return run.status();
    runs.push_back(*std::move(run));
  }
  return runs;
}

absl::Status RunRates(const Client& client, const RatesOptions& options, std::ostream& out,
                      std::FILE* progress) {
  const auto runs = MeasureRates(client, options, progress);
  if (!runs.ok()) return runs.status();
  return RatesReport(options.out_dir, *runs).Deliver(options.json, out);
}

}  // namespace talweg
