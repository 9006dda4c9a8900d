// SPDX-License-Identifier: Apache-2.0
//
// Whom the fleet experiment kills, when, and for how long it stays away: drawn from a seed, with
// time handed in.
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
  // A kill every `period`, from one period after `start` on; a period that is not above zero: none.
  // The dead stay away for up to twice `lease`: some are back before theirs has run out, and fence
  // what they were; the others expire first.
  KillPlan(absl::Duration period, absl::Duration lease, uint64_t seed, absl::Time start);

  // The worker to kill now, of those that run, if it is time and one runs. After a pause of several
  // periods it is time once.
  std::optional<size_t> Due(absl::Time now, const std::vector<bool>& running);
  // How long the one that was killed stays away.
  absl::Duration Absence();

 private:
  double Uniform();  // in [0, 1)

  const absl::Duration period_;
  const absl::Duration lease_;
  std::mt19937_64 random_;
  absl::Time next_;
};

}  // namespace talweg
