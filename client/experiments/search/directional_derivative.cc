// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/directional_derivative.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/str_format.h"
#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/mnist/network.h"
#include "client/experiments/mnist/network_session.h"
#include "client/experiments/runs/own_session.h"
#include "client/experiments/search/evaluate_leases.h"
#include "client/experiments/search/fit_exponent.h"
#include "client/experiments/search/mnist_losses.h"
#include "client/experiments/search/mnist_tester.h"
#include "client/terminal/progress.h"
#include "core/noise/perturbation.h"

namespace talweg {
namespace {

constexpr size_t kWidths[] = {MnistSet::kPixels, 10};
constexpr size_t kBatchSize = 100;
constexpr double kRate = 0.1;
constexpr uint32_t kNumPairs = 50;
// The sigmas whose errors are measured: 10^(i / 4).
constexpr int kFirstSigma = -26;
constexpr int kLastSigma = 2;

std::vector<double> Doubles(absl::Span<const float> values) {
  return {values.begin(), values.end()};
}

// What is to be differentiated: the mean loss of one batch.
class Losses {
 public:
  Losses() : network_({kWidths, kWidths + 2}), exact_({kWidths, kWidths + 2}) {}

  size_t num_parameters() const { return network_.num_parameters(); }
  void SetBatch(MnistBatch batch) {
    batch_ = std::move(batch);
    inputs_ = Doubles(batch_.inputs);
  }
  // As a worker tells it.
  float At(absl::Span<const float> parameters) {
    return static_cast<float>(network_.Evaluate(parameters, batch_.inputs, batch_.labels).loss);
  }
  std::vector<double> Gradient(absl::Span<const float> parameters) {
    std::vector<double> gradient(num_parameters());
    exact_.Gradient(Doubles(parameters), inputs_, batch_.labels, absl::MakeSpan(gradient));
    return gradient;
  }

 private:
  Network<float> network_;
  Network<double> exact_;
  MnistBatch batch_;
  std::vector<double> inputs_;
};

double Along(absl::Span<const double> gradient, absl::Span<const float> eps) {
  double sum = 0;
  for (size_t i = 0; i < gradient.size(); ++i) sum += gradient[i] * eps[i];
  return sum;
}

std::vector<DifferenceErrors> MeasureErrors(Losses& losses, const core::Perturbation& perturbation,
                                            absl::Span<const float> parameters,
                                            uint32_t num_directions) {
  std::vector<DifferenceErrors> errors = {{"central", 2, {}, {}}, {"one-sided", 1, {}, {}}};
  const std::vector<double> gradient = losses.Gradient(parameters);
  const double here = losses.At(parameters);
  std::vector<float> eps(parameters.size());
  std::vector<float> point(parameters.size());
  for (int i = kFirstSigma; i <= kLastSigma; ++i) {
    const auto sigma = static_cast<float>(std::pow(10, i / 4.0));
    double exact_squares = 0;
    double central_squares = 0;
    double one_sided_squares = 0;
    for (uint32_t pair = 0; pair < num_directions; ++pair) {
      const core::Draw draw = {1, pair};
      perturbation.Displacement(draw, 1, 0, eps);
      const double exact = Along(gradient, eps);
      perturbation.Perturb(draw, sigma, 0, parameters, point);
      const double plus = losses.At(point);
      perturbation.Perturb(draw, -sigma, 0, parameters, point);
      const double minus = losses.At(point);
      const double central = (plus - minus) / (2.0 * sigma) - exact;
      const double one_sided = (plus - here) / sigma - exact;
      exact_squares += exact * exact;
      central_squares += central * central;
      one_sided_squares += one_sided * one_sided;
    }
    for (DifferenceErrors& of_kind : errors) of_kind.sigmas.push_back(sigma);
    errors[0].errors.push_back(std::sqrt(central_squares / exact_squares));
    errors[1].errors.push_back(std::sqrt(one_sided_squares / exact_squares));
  }
  return errors;
}

v1::CreateSessionRequest MakeRequest(const DirectionalDerivativeOptions& options, double sigma) {
  v1::CreateSessionRequest request;
  request.set_session_id(OwnSessionId("directional_derivative"));
  SetNetwork(kWidths, options.seed, request);
  v1::SessionConfig& config = *request.mutable_config();
  config.mutable_optimizer()->mutable_gradient_descent();
  config.mutable_schedule()->set_learning_rate(kRate);
  v1::SearchPolicy& search = *config.mutable_search();
  search.set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  search.set_seed(options.seed);
  search.set_num_pairs(kNumPairs);
  search.set_scale(v1::SCALE_GRADIENT);
  search.set_max_generations(options.quick ? 10 : 50);
  if (sigma > 0) {
    search.set_sigma(sigma);
  } else {
    search.set_differences(v1::DIFFERENCES_DIRECTIONAL);
  }
  return request;
}

// The parameters of the first version and of the last.
struct Ends {
  std::vector<float> first, last;
};

// One search; `begin` is called with the first parameters and the perturbation.
absl::StatusOr<Ends> Search(
    const Client& client, const DirectionalDerivativeOptions& options, const MnistData& data,
    double sigma, const std::function<void(const LeasedWork& work, Losses& losses)>& begin) {
  Losses losses;
  std::optional<uint32_t> generation;  // of the batch and the gradient
  std::vector<double> gradient;
  std::vector<float> eps(losses.num_parameters());
  EvaluateLease by_points = PointByPoint(
      [&](absl::Span<const float> point, uint64_t /*data_seed*/) { return losses.At(point); });
  Ends ends;
  LeaseLoop loop;
  loop.stop = options.stop;
  loop.num_examples = kBatchSize;
  loop.evaluate = [&](const LeasedWork& work, std::vector<double>& told) -> absl::Status {
    const v1::EvaluationLease& lease = work.lease;
    if (generation != lease.generation()) {
      losses.SetBatch(BatchOfSeed(data.train, kBatchSize, lease.data_seed()));
      gradient = losses.Gradient(work.parameters);
      if (!generation && begin) begin(work, losses);
      generation = lease.generation();
    }
    if (lease.differences() != v1::DIFFERENCES_DIRECTIONAL) return by_points(work, told);
    for (uint32_t i = 0; i < lease.num_pairs(); ++i) {
      work.perturbation.Displacement({lease.generation(), lease.first_pair() + i}, 1, 0, eps);
      told.push_back(Along(gradient, eps));
    }
    return absl::OkStatus();
  };
  loop.see = [&](uint64_t version, absl::Span<const float> parameters) {
    (version == 0 ? ends.first : ends.last).assign(parameters.begin(), parameters.end());
    return absl::OkStatus();
  };
  const absl::Status searched = SearchAlone(client, MakeRequest(options, sigma), loop);
  if (!searched.ok()) return searched;
  return ends;
}

double Distance(absl::Span<const float> a, absl::Span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    sum += difference * difference;
  }
  return std::sqrt(sum);
}

double FitPart(const DifferenceErrors& errors, size_t begin, size_t end) {
  if (end < begin + 2) return 0;
  return FitExponent(absl::MakeConstSpan(errors.sigmas).subspan(begin, end - begin),
                     absl::MakeConstSpan(errors.errors).subspan(begin, end - begin));
}

}  // namespace

size_t DifferenceErrors::Best() const {
  return static_cast<size_t>(std::min_element(errors.begin(), errors.end()) - errors.begin());
}

// Near its minimum the error is a sum of both kinds, and near 1 it is no small error any more: what
// lies between is fitted.
double DifferenceErrors::LowExponent() const {
  size_t begin = 0;
  while (begin < Best() && errors[begin] > 0.5) ++begin;
  return FitPart(*this, begin, Best() > 2 ? Best() - 2 : 0);
}

double DifferenceErrors::HighExponent() const {
  size_t end = errors.size();
  while (end > Best() && errors[end - 1] > 0.1) --end;
  return FitPart(*this, Best() + 2, end);
}

absl::Status RunDirectionalDerivative(const Client& client,
                                      const DirectionalDerivativeOptions& options,
                                      std::ostream& out, std::FILE* progress_out) {
  const absl::StatusOr<MnistData> data = FindAndLoadMnist(options.data_dir);
  if (!data.ok()) return data.status();
  SetNumBlasThreads(1);
  std::vector<DifferenceErrors> errors;
  const absl::StatusOr<Ends> exact =
      Search(client, options, *data, 0, [&](const LeasedWork& work, Losses& losses) {
        errors = MeasureErrors(losses, work.perturbation, work.parameters, options.quick ? 4 : 32);
      });
  if (!exact.ok()) return exact.status();
  const double best = errors[0].sigmas[errors[0].Best()];
  std::vector<DifferenceSearch> searches;
  MnistTester tester(data->test, {kWidths, kWidths + 2});
  std::optional<Progress> progress;
  const std::vector<double> sigmas = {0, best, best / 1000, 100 * best};
  if (progress_out != nullptr) {
    progress.emplace(progress_out, IsTerminal(progress_out), "searches", sigmas.size());
  }
  for (const double sigma : sigmas) {
    const absl::StatusOr<Ends> ends =
        sigma == 0 ? exact : Search(client, options, *data, sigma, nullptr);
    if (!ends.ok()) return ends.status();
    const MnistTester::Result result = tester.Test(ends->last);
    searches.push_back({sigma == 0 ? "directional" : "central", sigma, result.loss, result.accuracy,
                        Distance(ends->last, exact->last) / Distance(exact->first, exact->last)});
  }
  if (progress) progress->Finish(sigmas.size(), "");
  return DirectionalDerivativeReport(options.out_dir, errors, searches).Deliver(options.json, out);
}

}  // namespace talweg
