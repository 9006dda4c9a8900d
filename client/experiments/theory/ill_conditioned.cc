// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/theory/ill_conditioned.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/experiments/theory/descent.h"
#include "client/terminal/progress.h"

namespace talweg {
namespace {

constexpr double kFlattest = 1;  // curvature along the valley

struct NamedRule {
  std::string name;
  DescentRule rule;
};

std::vector<NamedRule> Rules(double mu, double l) {
  return {{"gradient_descent, fastest", FastestGradientDescent(mu, l)},
          {"gradient_descent, safe", SafeGradientDescent(l)},
          {"momentum, safe", SafeHeavyBall(mu, l)},
          {"momentum, fastest", FastestHeavyBall(mu, l)},
          {"nesterov", StronglyConvexNesterov(mu, l)}};
}

// The server's method that comes to `rule`; its name goes to `name`.
v1::Optimizer OptimizerOf(const DescentRule& rule, std::string& name) {
  v1::Optimizer optimizer;
  if (rule.lookahead) {
    name = "nesterov";
    optimizer.mutable_nesterov()->set_beta(rule.beta);
    optimizer.mutable_nesterov()->set_dialect(v1::DIALECT_TUTORIAL);
  } else if (rule.beta > 0) {
    name = "momentum";
    optimizer.mutable_momentum()->set_beta(rule.beta);
    optimizer.mutable_momentum()->set_dialect(v1::DIALECT_TUTORIAL);
  } else {
    name = "gradient_descent";
    optimizer.mutable_gradient_descent();
  }
  return optimizer;
}

absl::StatusOr<IllConditionedRun> DescendOnce(const Client& client,
                                              const IllConditionedOptions& options,
                                              const Quadratic& quadratic, const NamedRule& named,
                                              std::FILE* progress_out) {
  IllConditionedRun run;
  run.num_dimensions = quadratic.eigenvalues.size();
  run.name = named.name;
  run.rule = named.rule;
  Descent descent;
  descent.optimizer = OptimizerOf(named.rule, run.method);
  descent.name = "ill-conditioned-" + run.method;
  descent.schedule.set_learning_rate(AveragingRate(named.rule));
  descent.lookahead = named.rule.lookahead;
  descent.stop = options.stop;
  for (const double eigenvalue : quadratic.eigenvalues) {
    run.contraction = std::max(run.contraction, Contraction(named.rule, eigenvalue));
    descent.start.push_back(static_cast<float>(1 / std::sqrt(eigenvalue)));
  }
  const double patience = 50 * options.condition + 1000;  // of theory itself
  run.predicted_steps = PredictedSteps(named.rule, quadratic, descent.start, kArrivedShare,
                                       static_cast<uint64_t>(patience));
  descent.num_steps = 2 * run.predicted_steps;
  descent.gradient = [&](absl::Span<const float> point, absl::Span<float> gradient) {
    quadratic.Gradient(point, gradient);
  };

  std::optional<Progress> progress;
  if (progress_out != nullptr) {
    progress.emplace(progress_out, IsTerminal(progress_out),
                     absl::StrFormat("%-25s %3d-D", run.name, run.num_dimensions),
                     std::max<uint64_t>(run.predicted_steps, 1));
  }
  const double first_loss = quadratic.Loss(descent.start);
  const auto detail = [&] { return absl::StrFormat("loss %.2g", run.losses.back()); };
  const auto shown = [&] { return std::min(run.steps, run.predicted_steps); };
  descent.see = [&](uint64_t step, absl::Span<const float> parameters) {
    run.steps = step;
    run.losses.push_back(quadratic.Loss(parameters) / first_loss);
    run.along.push_back(parameters.front());
    run.across.push_back(parameters.back());
    if (step > 0) run.travel_across += std::abs(run.across[step] - run.across[step - 1]);
    run.arrived = run.losses.back() <= kArrivedShare;
    if (progress && progress->Due(absl::Now())) progress->Draw(shown(), detail(), absl::Now());
    return !run.arrived;
  };
  const absl::Status status = Descend(client, descent);
  if (progress && !run.losses.empty()) progress->Finish(shown(), detail());
  if (!status.ok()) return status;
  run.travel_across /= std::abs(run.across.front());
  return run;
}

}  // namespace

absl::StatusOr<std::vector<IllConditionedRun>> DescendIllConditioned(
    const Client& client, const IllConditionedOptions& options, std::FILE* progress) {
  if (!(options.condition >= 1.5 && options.condition <= 1e5)) {
    return absl::InvalidArgumentError("the condition number must be in [1.5, 1e5]");
  }
  std::vector<IllConditionedRun> runs;
  for (const size_t num_dimensions : options.dimensions) {
    const double steepest = kFlattest * options.condition;
    const Quadratic quadratic = {LogSpaced(kFlattest, steepest, num_dimensions)};
    for (const NamedRule& named : Rules(kFlattest, steepest)) {
      absl::StatusOr<IllConditionedRun> run =
          DescendOnce(client, options, quadratic, named, progress);
      if (!run.ok()) return run.status();
      runs.push_back(*std::move(run));
    }
  }
  return runs;
}

absl::Status RunIllConditioned(const Client& client, const IllConditionedOptions& options,
                               std::ostream& out, std::FILE* progress) {
  const auto runs = DescendIllConditioned(client, options, progress);
  if (!runs.ok()) return runs.status();
  return IllConditionedReport(options.out_dir, options.condition, *runs).Deliver(options.json, out);
}

}  // namespace talweg
