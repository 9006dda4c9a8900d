// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment random_search_rate`: how the error of a search with two evaluations per
// perturbation grows with the dimension d and falls with the pairs M and the updates T, beside
// theory.
//
// Theory: a search over a convex loss with gradients of at most norm G, from a start at the
// distance R of the minimum, has after T updates a mean error of at most
//
//   R G sqrt(c / T),   c = 1 + (d + 1) / M  ~  d / M         at the rate  eta = R / (G sqrt(c T))
//
// because the estimate of a gradient g from M pairs has the mean square c |g|^2. Up to a constant
// no method that sees only losses does better (Duchi, Jordan, Wainwright, Wibisono 2015,
// arXiv:1312.2139, section 3; c: core/noise/perturbation.h). So the exponents are 1/2 in d, -1/2 in
// M and -1/2 in T.
//
// The bound is for the worst loss, and most losses have it easier. The norm L(x) = |x| does not:
// its gradient has the norm 1 everywhere, however near the minimum is. The search comes nearer by
// eta per update, which takes R / eta updates and adds R^2 / (2 eta T) to the mean error; and it
// ends where the noise holds the drift, eta c |g|^2 = 2 eta |x|, which adds eta c / 2. At the rate
// above the sum is the bound itself.
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

namespace talweg {

struct RandomSearchRateOptions {
  bool quick = false;  // 9 of the 15 points, and a sixteenth of the updates
  uint64_t seed = 1;   // of the perturbations
  std::string out_dir = "results/random_search_rate";  // the folder for plot and CSV
  bool json = false;                                   // the summary as JSON instead of a table
  std::function<bool()> stop;                          // asked before each lease; true ends the run
};

// One search.
struct RatePoint {
  uint64_t num_elements = 0;  // d
  uint64_t num_pairs = 0;     // M
  uint64_t num_steps = 0;     // T
  double error = 0;           // mean over the T points at which the search evaluated

  double bound() const;  // theory's, with R = G = 1
};

// Searches that differ in one number alone.
struct RateSweep {
  std::string varied;  // "d", "M", "T"
  double theory = 0;   // exponent
  std::vector<RatePoint> points;

  double Value(const RatePoint& point) const;  // of what is varied
  double Exponent() const;                     // of the power law that fits the points best
  double BoundExponent() const;  // the same of theory's bounds, which have c and not d / M
};

// Runs all searches, writes the files, and the summary to `out`. Sessions are deleted in the end,
// also after an error. CANCELLED if `stop` said so.
absl::Status RunRandomSearchRate(const Client& client, const RandomSearchRateOptions& options,
                                 std::ostream& out, std::FILE* progress);

// What the sweeps leave in `folder`. For scripts the rows are "runs", and the files are
//   plot     random_search_rate.svg
//   curves   random_search_rate.csv: one row per search
//   summary  summary.csv: one row per sweep
ReportWriter RandomSearchRateReport(const std::string& folder, absl::Span<const RateSweep> sweeps);

}  // namespace talweg
