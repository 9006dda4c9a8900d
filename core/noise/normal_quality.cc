// SPDX-License-Identifier: Apache-2.0
//
// How far the normals are from the normal distribution, over 2^30 of them or as many as are asked
// for.
//
//   normal_quality [NUMBERS [SEED]]
//
// draws streams of 2^20 normals of consecutive pairs, as a search does, and prints a table: each
// statistic, what it is for exact normals, its standard error over so many, and the deviation in
// standard errors. The Kolmogorov-Smirnov distance is taken at the edges of bins of 2^-20; between
// two edges it could be larger by at most 4e-7.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numbers>
#include <vector>

#include "core/noise/normal.h"
#include "core/noise/philox.h"
#include "core/noise/stream.h"

namespace talweg::core {
namespace {

constexpr uint64_t kStreamLength = uint64_t{1} << 20;
constexpr int kBinsPerUnit = 1 << 20;
constexpr int kBinsFromZero = 7 * kBinsPerUnit;

struct Sums {
  static constexpr int kHighest = 8;
  double power[kHighest + 1] = {};  // of x^n
  double neighbour = 0;             // of x_i x_(i + 1)
  double next_pair = 0;             // of x_i times number i of the stream before
  double largest = 0;

  void Add(const Sums& other) {
    for (int n = 0; n <= kHighest; ++n) power[n] += other.power[n];
    neighbour += other.neighbour;
    next_pair += other.next_pair;
    largest = std::max(largest, other.largest);
  }
};

// Sums over a part, so that few terms of like size are added to a large sum.
Sums SumsOf(const float* numbers, const float* before, size_t size) {
  Sums sums;
  for (size_t i = 0; i < size; ++i) {
    const double x = numbers[i];
    double power = 1;
    for (double& sum : sums.power) {
      sum += power;
      power *= x;
    }
    sums.largest = std::max(sums.largest, std::abs(x));
    sums.next_pair += x * before[i];
    if (i % 2 == 1) sums.neighbour += x * numbers[i - 1];
  }
  return sums;
}

void Print(const char* name, double got, double expected, double standard_error) {
  std::printf("%-24s %18.9g %18.9g %12.3g %8.2f\n", name, got, expected, standard_error,
              (got - expected) / standard_error);
}

void PrintCount(const char* name, double got, double n, double probability) {
  Print(name, got, n * probability, std::sqrt(n * probability * (1 - probability)));
}

double NormalCdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

int Run(uint64_t num_streams, uint64_t seed) {
  const PhiloxRoundKeys keys(KeyOfSeed(seed));
  std::vector<uint64_t> bins(2 * kBinsFromZero);
  std::vector<float> numbers(kStreamLength), before(kStreamLength);
  DrawNumbers(keys, {NoiseDomain::kDenseNormal, 0, 0}, 0, 1, before);
  Sums sums;
  uint64_t above[7] = {};
  for (uint64_t stream = 1; stream <= num_streams; ++stream) {
    DrawNumbers(keys, {NoiseDomain::kDenseNormal, static_cast<uint32_t>(stream), 0}, 0, 1, numbers);
    constexpr size_t kPart = 4096;
    for (size_t i = 0; i < kStreamLength; i += kPart) {
      sums.Add(SumsOf(numbers.data() + i, before.data() + i, kPart));
    }
    for (const float x : numbers) {
      ++bins[static_cast<size_t>(std::floor(x * double{kBinsPerUnit})) + kBinsFromZero];
      ++above[static_cast<int>(std::abs(x))];
    }
    numbers.swap(before);
  }
  const double n = sums.power[0];

  std::printf("%.0f normals of seed %llu\n", n, static_cast<unsigned long long>(seed));
  std::printf("%-24s %18s %18s %12s %8s\n", "", "got", "expected", "std. error", "errors");
  // The moment of order 2 k is (2 k - 1)!!.
  double moments[2 * Sums::kHighest + 1] = {1};
  for (int k = 2; k <= 2 * Sums::kHighest; k += 2) moments[k] = moments[k - 2] * (k - 1);
  for (int k = 1; k <= Sums::kHighest; ++k) {
    char name[32];
    std::snprintf(name, sizeof(name), "mean of x^%d", k);
    const double variance = moments[2 * k] - moments[k] * moments[k];
    Print(name, sums.power[k] / n, moments[k], std::sqrt(variance / n));
  }
  Print("mean of neighbours", sums.neighbour / (n / 2), 0, std::sqrt(2 / n));
  Print("mean over two pairs", sums.next_pair / n, 0, std::sqrt(1 / n));
  double count = 0;
  for (int threshold = 6; threshold >= 1; --threshold) {
    count += static_cast<double>(above[threshold]);
    char name[32];
    std::snprintf(name, sizeof(name), "count of |x| >= %d", threshold);
    PrintCount(name, count, n, std::erfc(threshold / std::numbers::sqrt2));
  }
  std::printf("%-24s %18.9g %18s (bound: %.9g; exact normals exceed it %.2g times)\n",
              "largest |x|", sums.largest, "", static_cast<double>(kLargestNormal),
              n * std::erfc(kLargestNormal / std::numbers::sqrt2));

  double distance = 0, below = 0;
  for (int bin = 0; bin < 2 * kBinsFromZero; ++bin) {
    const double edge = static_cast<double>(bin - kBinsFromZero) / kBinsPerUnit;
    distance = std::max(distance, std::abs(below / n - NormalCdf(edge)));
    below += static_cast<double>(bins[bin]);
  }
  // Over n exact normals, sqrt(n) D has the mean sqrt(pi / 2) log 2 and this standard deviation.
  const double pi = std::numbers::pi, root = std::sqrt(n);
  const double mean = std::sqrt(pi / 2) * std::numbers::ln2;
  Print("Kolmogorov-Smirnov D", distance, mean / root,
        std::sqrt(pi * pi / 12 - mean * mean) / root);
  return 0;
}

}  // namespace
}  // namespace talweg::core

int main(int argc, char** argv) {
  const uint64_t numbers = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : uint64_t{1} << 30;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  const uint64_t streams = numbers / talweg::core::kStreamLength;
  if (streams == 0) {
    std::fprintf(stderr, "usage: normal_quality [NUMBERS [SEED]], at least 2^20 numbers\n");
    return 2;
  }
  return talweg::core::Run(streams, seed);
}
