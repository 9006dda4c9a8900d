// SPDX-License-Identifier: Apache-2.0
//
// Rounds, medians and the line that a benchmark prints.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

namespace talweg::testing {

// Seconds of one `run()`, over `count` of them.
template <class Run>
double SecondsOf(int count, const Run& run) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / count;
}

inline double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

inline void Print(const std::string& name, double ours, const char* unit,
                  const std::string& peer_name, double peer, double ratio, double goal) {
  std::printf("bench %s ours %.2f %s peer %s %.2f %s ratio %.2f goal >=%g %s\n", name.c_str(), ours,
              unit, peer_name.c_str(), peer, unit, ratio, goal, ratio >= goal ? "ok" : "short");
  std::fflush(stdout);
}

}  // namespace talweg::testing
