// SPDX-License-Identifier: Apache-2.0
//
// The parameters as a client would compute them if it had every gradient and the record of each
// version: contribution after contribution, in exact or plain arithmetic, by gradient descent.
//
//   mean          float32(round(Sum w g) / round(Sum w)), sums exact; of one gradient itself
//   by worker     float32((w_1 g_1 + w_2 g_2 + …) / round(Sum w)) in double, by the workers' names
//   trimmed mean  of the values in order without `trim` at each end, summed in double
//   median        the middle value, or the mean of the two in the middle
//   step          W <- float32(1 - eta decay) W - float32(eta) g, in float32
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "tests/simulation/model.h"

namespace talweg::simulation {

class Reference {
 public:
  // `decay` is the one of WorldConfig.
  void Begin(std::vector<float> parameters, double decay) {
    parameters_ = std::move(parameters);
    decay_ = decay;
  }
  // Takes the step of a version that was made of `counted` with these settings.
  void Take(const std::vector<Counted>& counted, const Settings& settings);
  const std::vector<float>& parameters() const { return parameters_; }

 private:
  std::vector<float> parameters_;
  double decay_ = 0;
};

}  // namespace talweg::simulation
