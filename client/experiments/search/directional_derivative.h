// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment directional_derivative`: how near a difference of two losses comes to the
// derivative along the noise eps, as sigma goes down.
//
//   central     (L(W + sigma eps) - L(W - sigma eps)) / (2 sigma)     error ~ sigma^2
//   one-sided   (L(W + sigma eps) - L(W)) / sigma                     error ~ sigma
//   exact       <gradient, eps>, in float64
//
// until the rounding of losses and parameters to float32 takes over, which is an error ~ 1 / sigma.
// Losses are those of a softmax regression on 100 images of MNIST (784-10): smooth, unlike a
// network with ReLU. Then the same search is run with DIFFERENCES_DIRECTIONAL, whose workers tell
// the exact derivatives, and with central differences of a good sigma and of two bad ones.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/client.h"
#include "client/experiments/plots/report_writer.h"

namespace talweg {

struct DirectionalDerivativeOptions {
  bool quick = false;  // fewer directions and updates
  uint64_t seed = 1;   // of initial values, perturbations and images
  std::string out_dir = "results/directional_derivative";  // the folder for plot and CSV
  std::string data_dir;        // folder of the data; empty: FindMnist() looks
  bool json = false;           // the summary as JSON instead of a table
  std::function<bool()> stop;  // asked before each lease; true ends the run
};

// The error of one kind of difference, as sigma goes up.
struct DifferenceErrors {
  std::string name;   // "central"
  double theory = 0;  // exponent of the error in sigma, where sigma is too large
  std::vector<double> sigmas;
  std::vector<double> errors;  // root mean square over directions, as a share of the derivative's

  size_t Best() const;  // index of the smallest error
  // The exponent of the error where sigma is too small, and where it is too large. 0 if there are
  // too few points.
  double LowExponent() const;
  double HighExponent() const;
};

// One search.
struct DifferenceSearch {
  std::string name;     // "directional", "central"
  double sigma = 0;     // 0: exact derivatives
  double loss = 0;      // on the test set, in the end
  double accuracy = 0;  // share of the test set, in the end
  double distance = 0;  // from the end of the exact search, as a share of the way that it went
};

// Measures, searches, writes the files, and the summary to `out`. Sessions are deleted in the end,
// also after an error. CANCELLED if `stop` said so.
absl::Status RunDirectionalDerivative(const Client& client,
                                      const DirectionalDerivativeOptions& options,
                                      std::ostream& out, std::FILE* progress);

// What is left in `folder`. For scripts the rows are "runs": the searches; and the files are
//   plot      directional_derivative.svg
//   curves    directional_derivative.csv: one row per sigma and kind of difference
//   summary   summary.csv: one row per kind of difference
//   searches  searches.csv: one row per search
ReportWriter DirectionalDerivativeReport(const std::string& folder,
                                         absl::Span<const DifferenceErrors> errors,
                                         absl::Span<const DifferenceSearch> searches);

}  // namespace talweg
