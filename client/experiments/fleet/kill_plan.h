// SPDX-License-Identifier: Apache-2.0
//
// Which worker the fleet experiment kills, when, and how long that worker stays away. Drawn from a
// seed; time is handed in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "absl/time/time.h"

namespace talweg {

class KillPlan {
 public:
  // There is a kill every `period`, the first one period after `start`; if `period` is not above
  // zero, there is none. Killed workers stay away for up to twice `lease`. Some of them are back
  // before their lease has run out, and fence their former process; the others expire first.
  KillPlan(absl::Duration period, absl::Duration lease, uint64_t seed, absl::Time start);

  // The worker to kill now, drawn from those that run; nothing if it is not time yet or none runs.
  // After a pause of several periods it is time once.
  std::optional<size_t> Due(absl::Time now, const std::vector<bool>& running);
  // How long the worker that was killed stays away.
  absl::Duration Absence();

 private:
  double Uniform();  // in [0, 1)

  const absl::Duration period_;
  const absl::Duration lease_;
  std::mt19937_64 random_;
  absl::Time next_;
};

}  // namespace talweg
