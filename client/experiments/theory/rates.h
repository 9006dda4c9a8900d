// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment rates`: how fast the loss falls on problems for which theory promises a power
// of the step, and no more. Slopes are fitted on paper with two logarithmic axes, and held against
// theory's.
//
// Smooth, convex, not strongly convex: gradient descent 1/t, Nesterov 1/t^2.
//
//   f(x) = 1/2 sum_i lambda_i x_i^2, the lambda_i evenly spread in log lambda from 1e-8 to L = 1,
//   and x_i = 1 at first. The steps that are made here are too few to tell the flattest directions
//   from directions without any curvature.
//
//   The bounds hold for every convex f, so a slope of -1 or -2 shows only if the error is spread so
//   that neither method has it easy at any t. A spread that is even in log lambda does that for
//   both methods at once:
//     gradient descent   sum lambda_i (1 - lambda_i)^2t / 2     ~  n / (4 R t)
//     Nesterov           x_i ~ 2 J_1(t sqrt lambda_i) / (t sqrt lambda_i)  (a Bessel function; Su,
//                        Boyd, Candes 2014, section 3), and the sum ~  2 n / (R t^2)
//   with R = log(1 / 1e-8) = 18.4. The bounds are R times as high, at every t:
//     gradient descent   L |x_0|^2 / (4t + 2)       Drori, Teboulle 2014, theorem 1
//     Nesterov           2 L |x_0|^2 / (t + 1)^2    Beck, Teboulle 2009, theorem 4.4
//
//   Nesterov's momentum grows, beta_t = (t - 1) / (t + 2), with eta = 1 / L. The server averages,
//   m <- beta m + (1 - beta) g and W <- W - rate m, so that the same steps are
//     beta_t = (t - 1) / (t + 3)      rate_t = (t + 3) / (4 L),
//   changed live before each step.
//
// Strongly convex and noisy, one example per step, rate_t = c / sqrt(t): 1/sqrt(t).
//
//   Least squares with 16 outputs: y = W* a + noise, a of +-1 in d = 8 dimensions, noise of
//   variance 1 in each output. Each example is fresh. The loss is the expected loss of the next
//   example beyond the noise, |W - W*|^2 / 2. The mean square error of a row follows
//     e <- e (1 - 2 rate + rate^2 d) + rate^2 d
//   so once the start is forgotten, the noise of the steps keeps it near rate_t d / 2. With
//   c = 2 / d its slope is -0.52 over steps 1,000 to 10,000, and -0.5 in the end. The loss is
//   averaged over sessions, each with a seed of its own.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/client.h"
#include "client/experiments/plots/report_writer.h"
#include "client/experiments/theory/power_law.h"

namespace talweg {

struct RatesOptions {
  uint64_t num_steps = 1000;              // of gradient descent and Nesterov, in [100, 3000]
  uint64_t num_noisy_steps = 10000;       // of each session with noise, >= 100
  uint64_t num_seeds = 8;                 // how many sessions with noise, >= 2
  uint64_t seed = 1;                      // of the noise; the seeds of sessions are drawn from it
  std::string out_dir = "results/rates";  // the folder for plot and CSV
  bool json = false;                      // the summary as JSON instead of a table
  size_t num_threads = 0;      // sessions with noise at the same time; 0: one for each core
  std::function<bool()> stop;  // asked before each step, by any thread; true ends the run
};

// One method's loss over its steps.
struct RatesRun {
  std::string name;    // "nesterov, growing momentum"
  std::string method;  // as on the wire
  double theory = 0;   // theory's slope
  std::vector<double>
      losses;          // after 1, 2, ... steps, as shares of the first; the mean of all seeds
  uint64_t first = 0;  // the fit is over the steps from `first` to `last`
  uint64_t last = 0;
  PowerLaw fit;
  double slope_error = 0;  // standard error of the fitted slope (jackknife); 0: no noise was drawn
  double bound_share = 0;  // last loss divided by theory's bound; 0: there is no such bound

  // How far the slope is from theory's, as a share of theory's.
  double Deviation() const;
};

// Makes all runs. Sessions are deleted in the end, also after an error. CANCELLED if `stop` said
// so; INVALID_ARGUMENT for numbers out of their range.
absl::StatusOr<std::vector<RatesRun>> MeasureRates(const Client& client,
                                                   const RatesOptions& options,
                                                   std::FILE* progress);

// The same; also writes the files, and the summary to `out`.
absl::Status RunRates(const Client& client, const RatesOptions& options, std::ostream& out,
                      std::FILE* progress);

// What the runs leave in `folder`. For scripts the rows are "runs", and the files are
//   plot     rates.svg
//   curves   rates.csv: run,step,loss
//   summary  summary.csv: one row per run
ReportWriter RatesReport(const std::string& folder, absl::Span<const RatesRun> runs);

}  // namespace talweg
