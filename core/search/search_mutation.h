// SPDX-License-Identifier: Apache-2.0
//
// Deliberate bugs of the search machine, each of which the simulation in tests/simulation must
// find. Only tests switch one on.
#pragma once

#include <cstdint>

namespace talweg::core {

enum class SearchMutation : uint8_t {
  kNone,
  kSecondLossWins,  // losses that are told again replace the first ones
  kCountHalfPair,   // a pair that should be dropped counts with 0 for the loss that is not finite
  kKeepDeadLease,   // the lease of a worker that expired is never free
  kKeepLease,       // a lease never ends by time
  kForgetLoss,      // a lease that ends without a word counts against no pair
  kCountLate,       // losses of a generation that has closed count in the open one
  kCountFailureTwice,  // a failure counts as often as it is told
  kWrongDivisor,   // the estimate is divided by the pairs of the generation, not those that count
  kIgnoreFencing,  // an older incarnation is taken for the newer one
  kIgnoreHistory,  // a message of another history is taken for one of this history
  kKeepNumber,     // a change at once keeps the number of the generation that it replaces
  kOversleep,      // a tick is asked for a second late
};

}  // namespace talweg::core
