// SPDX-License-Identifier: Apache-2.0
//
// Deliberate bugs of a session's host, each of which the simulation in tests/simulation must find.
// Only tests switch one on.
#pragma once

#include <cstdint>

namespace talweg::server {

enum class HostMutation : uint8_t {
  kNone,
  kAnswerBeforeDurable,  // a call is answered before the decision behind its answer is durable
  kAnswerBeforeVisible,  // a call is told of a version that cannot be read yet
};

}  // namespace talweg::server
