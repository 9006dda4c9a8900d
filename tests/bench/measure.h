// SPDX-License-Identifier: Apache-2.0
//
// How a benchmark measures: the time of a run, the median of several rounds, and the line that it
// prints. For benchmarks only.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

namespace talweg::testing {

// Calls `run()` `count` times and returns the mean number of seconds that one call took.
template <class Run>
double SecondsOf(int count, const Run& run) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / count;
}

// The median of `values`, which must not be empty; of an even number of values, the upper one of
// the two in the middle.
inline double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Prints the line of one benchmark. `ours` and `peer` are in `unit`; the line ends with "ok" if
// `ratio` is at least `goal`, else with "short".
inline void Print(const std::string& name, double ours, const char* unit,
                  const std::string& peer_name, double peer, double ratio, double goal) {
  std::printf("bench %s ours %.2f %s peer %s %.2f %s ratio %.2f goal >=%g %s\n", name.c_str(), ours,
              unit, peer_name.c_str(), peer, unit, ratio, goal, ratio >= goal ? "ok" : "short");
  std::fflush(stdout);
}

}  // namespace talweg::testing
