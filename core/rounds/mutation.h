// SPDX-License-Identifier: Apache-2.0
//
// Deliberate bugs of the round machine, each of which the simulation in tests/simulation must find.
// Only tests switch one on.
#pragma once

#include <cstdint>

namespace talweg::core {

enum class Mutation : uint8_t {
  kNone,
  kForgetReplies,           // a repeat is judged anew instead of answered from memory
  kCountDuplicate,          // a repeat of a pending contribution counts again
  kIgnoreFencing,           // an older incarnation is taken for the newer one
  kWrongDenominator,        // the mean is taken over the workers expected, not over those that came
  kLooseBound,              // with bounded staleness a worker may be one round farther ahead
  kUnfoldAtExpiry,          // the weight of an expired worker's contribution leaves the round
  kIgnoreHistory,           // a message of another history is taken for one of this history
  kKeepExpecting,           // an expired worker goes on being expected
  kDropAnswer,              // the last of several answers that are due at once is lost
  kOversleep,               // a tick is asked for a second late
  kIgnoreNonce,             // each attempt of a join issues an incarnation
  kExpectAbstainer,         // a worker that abstains goes on being expected
  kCountStatisticsTwice,    // statistics that come alone count twice
  kInstallForOtherVersion,  // inverses are recorded as part of a later version
};

}  // namespace talweg::core
