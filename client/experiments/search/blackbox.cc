// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/blackbox.h"

#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/experiments/runs/own_session.h"
#include "client/experiments/search/blackbox_functions.h"
#include "client/experiments/search/evaluate_leases.h"
#include "client/terminal/progress.h"

namespace talweg {
namespace {

// What a dimension gets. Both methods spend the same evaluations.
struct Budget {
  uint64_t num_elements;
  uint64_t num_pairs;  // of the evolution strategy, two evaluations each
  uint64_t num_steps;  // of the evolution strategy
};
constexpr Budget kBudgets[] = {{10, 16, 1000}, {100, 32, 2000}, {1000, 64, 3000}};

// Of the evolution strategy.
constexpr double kLearningRate = 0.05;
constexpr double kSigma = 0.5;
constexpr double kLastSigma = 0.01;
// Of random search: 15 perturbations and the point itself. A step has the length sigma sqrt(d).
constexpr uint64_t kPerturbations = 15;
constexpr double kStep = 2;
constexpr double kLastStep = 0.003;

v1::CreateSessionRequest MakeRequest(const BlackboxRun& run, const BlackboxFunction& function,
                                     uint64_t num_steps, uint64_t seed) {
  v1::CreateSessionRequest request;
  request.set_session_id(OwnSessionId(absl::StrCat("blackbox-", run.function)));
  v1::SessionConfig& config = *request.mutable_config();
  v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
  tensor.set_name("x");
  tensor.add_shape(run.num_elements);
  v1::SeededValues& seeded = *request.mutable_initial_values()->mutable_seeded();
  seeded.set_seed(seed);
  v1::InitialValueRule& rule = *seeded.add_rules();
  rule.set_tensors("*");
  rule.mutable_uniform()->set_low(function.low);
  rule.mutable_uniform()->set_high(function.high);
  v1::SearchPolicy& search = *config.mutable_search();
  search.set_seed(seed);
  search.set_num_pairs(static_cast<uint32_t>(run.num_pairs));
  search.set_max_generations(static_cast<uint32_t>(num_steps));
  search.set_sigma(run.sigma_first);
  search.set_sigma_limit(run.sigma_last);
  search.set_sigma_decay(
      std::pow(run.sigma_last / run.sigma_first, 1 / static_cast<double>(num_steps)));
  if (run.searches_at_random()) {
    search.set_method(v1::SEARCH_METHOD_RANDOM_SEARCH);
    search.set_acceptance(v1::ACCEPTANCE_IF_BETTER);
    config.mutable_optimizer()->mutable_gradient_descent();
    config.mutable_schedule()->set_learning_rate(1);
    return request;
  }
  search.set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  search.set_shaping(v1::SHAPING_CENTERED_RANKS);
  config.mutable_optimizer()->mutable_adam();
  config.mutable_schedule()->set_learning_rate(kLearningRate);
  config.mutable_schedule()->mutable_cosine()->set_total_steps(num_steps);
  return request;
}

absl::Status Search(const Client& client, const BlackboxOptions& options,
                    const BlackboxFunction& function, uint64_t num_steps, BlackboxRun& run) {
  const double of_generation =
      static_cast<double>(run.searches_at_random() ? run.num_pairs + 1 : 2 * run.num_pairs);
  LeaseLoop loop;
  loop.stop = options.stop;
  loop.evaluate = PointByPoint(
      [&](absl::Span<const float> x, uint64_t /*data_seed*/) { return function.value(x); });
  loop.see = [&](uint64_t version, absl::Span<const float> x) {
    run.evaluations.push_back(of_generation * static_cast<double>(version));
    run.values.push_back(function.value(x));
    return absl::OkStatus();
  };
  return SearchAlone(client, MakeRequest(run, function, num_steps, options.seed), loop);
}

}  // namespace

absl::Status RunBlackbox(const Client& client, const BlackboxOptions& options, std::ostream& out,
                         std::FILE* progress_out) {
  std::vector<BlackboxRun> runs;
  for (const BlackboxFunction& function : BlackboxFunctions()) {
    for (const Budget& budget : kBudgets) {
      if (options.quick && budget.num_elements > 100) continue;
      const uint64_t num_steps = options.quick ? budget.num_steps / 10 : budget.num_steps;
      const double root = std::sqrt(static_cast<double>(budget.num_elements));
      for (const bool at_random : {false, true}) {
        BlackboxRun& run = runs.emplace_back();
        run.function = std::string(function.name);
        run.title = std::string(function.title);
        run.method = at_random ? "random_search" : "evolution_strategy";
        run.num_elements = budget.num_elements;
        run.num_pairs = at_random ? kPerturbations : budget.num_pairs;
        run.sigma_first = at_random ? kStep / root : kSigma;
        run.sigma_last = at_random ? kLastStep / root : kLastSigma;
        const uint64_t steps =
            at_random ? num_steps * 2 * budget.num_pairs / (kPerturbations + 1) : num_steps;
        std::optional<Progress> progress;
        if (progress_out != nullptr) {
          progress.emplace(
              progress_out, IsTerminal(progress_out),
              absl::StrFormat("%-14s %-18s d = %-5d", run.function, run.method, run.num_elements),
              steps);
        }
        const absl::Status searched = Search(client, options, function, steps, run);
        if (!searched.ok()) return searched;
        if (progress) {
          progress->Finish(run.values.size() - 1,
                           absl::StrFormat("%.4g -> %.4g", run.values.front(), run.values.back()));
        }
      }
    }
  }
  return BlackboxReport(options.out_dir, runs, options.quick).Deliver(options.json, out);
}

}  // namespace talweg
