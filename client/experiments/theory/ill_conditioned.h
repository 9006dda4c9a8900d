// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment ill_conditioned`: a valley a thousand times steeper across than along.
// Gradient descent goes from wall to wall and hardly moves forward; with momentum it arrives.
//
// Each rule of quadratic.h is run with the constants of theory, in two dimensions and in a hundred:
// how many steps it takes until a millionth of the first loss is left, against what theory says.
// Every coordinate holds the same share of the first loss. The report also tells how far each rule
// went across the valley, as a multiple of how far across it started (to walk straight down is 1).
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
#include "client/experiments/theory/quadratic.h"

namespace talweg {

struct IllConditionedOptions {
  double condition = 1000;                          // steepest curvature over flattest, > 1
  std::vector<size_t> dimensions = {2, 100};        // one problem each, >= 2; the first is drawn
  std::string out_dir = "results/ill_conditioned";  // the folder for plots and CSV
  bool json = false;                                // the summary as JSON instead of a table
  std::function<bool()> stop;                       // asked before each step; true ends the run
};

// The share of the first loss that is left when a rule has arrived.
inline constexpr double kArrivedShare = 1e-6;

// One rule on one problem.
struct IllConditionedRun {
  size_t num_dimensions = 0;
  std::string name;    // "momentum, fastest"
  std::string method;  // as on the wire
  DescentRule rule;
  double contraction = 0;        // of the error in the slowest direction, per step
  uint64_t predicted_steps = 0;  // until arrived, by theory
  uint64_t steps = 0;            // until arrived, or all that were made
  bool arrived = false;
  double travel_across = 0;    // along the steepest direction, in its first distance
  std::vector<double> losses;  // after 0, 1, ... steps, as shares of the first
  std::vector<double> along;   // the flattest coordinate
  std::vector<double> across;  // the steepest coordinate
};

// Runs all rules on all problems. Sessions are deleted in the end, also after an error. CANCELLED
// if `stop` said so; INVALID_ARGUMENT if the condition is not above 1 or a dimension is below 2.
absl::StatusOr<std::vector<IllConditionedRun>> DescendIllConditioned(
    const Client& client, const IllConditionedOptions& options, std::FILE* progress);

// The same; also writes the files, and the summary to `out`.
absl::Status RunIllConditioned(const Client& client, const IllConditionedOptions& options,
                               std::ostream& out, std::FILE* progress);

// What the runs leave in `folder`. For scripts the rows are "runs", and the files are
//   paths    paths.svg: the paths of three rules over the level lines
//   plot     loss.svg
//   curves   loss.csv: dimensions,rule,step,loss,along,across
//   summary  summary.csv: one row per rule and problem
ReportWriter IllConditionedReport(const std::string& folder, double condition,
                                  absl::Span<const IllConditionedRun> runs);

}  // namespace talweg
