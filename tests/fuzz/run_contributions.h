// SPDX-License-Identifier: Apache-2.0
//
// What must hold of the code that takes hostile contributions. For fuzz tests only.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "tests/fuzz/session_model.h"

namespace talweg::testing {

// Takes contributions made of `bytes` as Step does, with its checks, its codec and a session of its
// own, but without a service. Returns what did not hold, or "" if all of this did:
//   - a contribution that is wrong is refused for what is wrong with it, and leaves the checksum of
//     the state as it was;
//   - a repeat gets its answer again and changes nothing;
//   - everything else is judged and answered as the model says, bit for bit;
//   - at the end a contribution without fault is applied.
// Counts reasons and verdicts in `seen` if it is not null.
std::string RunContributions(absl::string_view bytes, Seen* seen = nullptr);

}  // namespace talweg::testing
