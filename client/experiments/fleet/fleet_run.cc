// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/fleet/fleet_run.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace talweg {

void FleetRun::Add(const v1::StepRecord& record) {
  if (record.version() <= last_version() || record.version() > NumVersions(mode, shape)) return;
  const absl::Time time =
      absl::FromUnixSeconds(record.time().seconds()) + absl::Nanoseconds(record.time().nanos());
  if (versions.empty()) first_time_ = time;
  const v1::StepReport& report = record.report();
  versions.push_back(record.version());
  rounds.push_back(static_cast<double>(record.version()) /
                   static_cast<double>(VersionsARound(mode, shape)));
  seconds.push_back(absl::ToDoubleSeconds(time - first_time_));
  losses.push_back(report.has_loss() ? report.loss() : std::numeric_limits<double>::quiet_NaN());
  staleness.push_back(report.staleness());
  contributors.push_back(report.contributors());
  num_contributions += report.contributors();
  num_late += report.num_late();
  staleness_sum += static_cast<double>(report.staleness());
  max_staleness = std::max(max_staleness, report.staleness());
}

double FleetRun::mean_staleness() const {
  return versions.empty() ? 0 : staleness_sum / static_cast<double>(versions.size());
}

double FleetRun::final_loss() const {
  if (losses.empty()) return std::numeric_limits<double>::quiet_NaN();
  const size_t count = std::max<size_t>(losses.size() / 10, 1);
  return std::accumulate(losses.end() - static_cast<std::ptrdiff_t>(count), losses.end(), 0.0) /
         static_cast<double>(count);
}

double FleetRun::RoundsASecond(double window) const {
  if (versions.size() < 2) return 0;
  const auto first = std::lower_bound(seconds.begin(), seconds.end() - 2, last_second() - window);
  const size_t index = static_cast<size_t>(first - seconds.begin());
  const double passed = seconds.back() - seconds[index];
  return passed > 0 ? (rounds.back() - rounds[index]) / passed : 0;
}

double FleetRun::wait_share() const {
  const double all = tally.compute_seconds + tally.wait_seconds;
  return all > 0 ? tally.wait_seconds / all : 0;
}

}  // namespace talweg
