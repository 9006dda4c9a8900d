// SPDX-License-Identifier: Apache-2.0
//
// spd_inverse_N: eight positive definite matrices of N rows are inverted on all cores, one matrix
// to a thread, against torch.cholesky_inverse (torch_inverse.py), which cuts each of them over all
// cores, and against as many flops of sgemm on as many threads.
//
//   linalg_bench PYTHON spd_inverse_N    PYTHON has torch, or is "" if no interpreter has it
//
// A round measures each side once, in turn; the medians of the rounds are compared.
#include <cblas.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/linalg/one_thread.h"
#include "core/linalg/spd_inverse.h"
#include "tests/bench/measure.h"
#include "tests/bench/peer.h"
#include "tests/support/pool.h"

namespace {

using talweg::core::SpdInverse;
using talweg::testing::Median;
using talweg::testing::Peer;
using talweg::testing::Pool;
using talweg::testing::Print;
using talweg::testing::SecondsOf;

constexpr size_t kMatrices = 8;
constexpr int kRounds = 9;

std::vector<float> Noise(size_t count) {
  std::vector<float> values(count);
  uint64_t state = 1;
  for (float& value : values) {
    state = state * 6364136223846793005 + 1442695040888963407;
    value = static_cast<float>(state >> 40) / 8388608 - 1;
  }
  return values;
}

bool RunInverse(const std::string& python, size_t n) {
  const auto size = static_cast<blasint>(n);
  Pool pool(std::max(1u, std::thread::hardware_concurrency()));
  const std::vector<float> noise = Noise(n * n);
  // (1/n) X X^T + I / 10
  std::vector<float> matrix(n * n);
  cblas_ssyrk(CblasRowMajor, CblasUpper, CblasNoTrans, size, size, 1 / static_cast<float>(n),
              noise.data(), size, 0, matrix.data(), size);
  for (size_t i = 0; i < n; ++i) matrix[i * n + i] += 0.1f;
  std::vector<std::vector<float>> work(kMatrices);
  const SpdInverse<float> inversion(n);
  bool inverted = true;
  const auto invert = [&](size_t index) {
    if (!inversion.RunAll(absl::MakeSpan(work[index]))) inverted = false;
  };
  const auto multiply = [&](size_t index) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, size, size, size / 2, 1, noise.data(),
                size, matrix.data(), size, 0, work[index].data(), size);
  };
  Peer peer(python.empty() ? "python3" : python, "torch_inverse.py",
            {std::to_string(n), std::to_string(kMatrices)});
  if (peer.name().empty()) {
    std::printf("bench spd_inverse_%zu not measured: no interpreter has torch\n", n);
    return false;
  }
  std::vector<double> ours, products, theirs;
  for (int round = 0; round < kRounds; ++round) {
    for (std::vector<float>& each : work) each = matrix;
    ours.push_back(SecondsOf(1, [&] { pool.Run(kMatrices, invert); }));
    products.push_back(SecondsOf(1, [&] { pool.Run(kMatrices, multiply); }));
    const std::optional<double> seconds = peer.SecondsFor(1);
    if (!seconds.has_value()) {
      std::printf("bench spd_inverse_%zu not measured: the peer ended\n", n);
      return false;
    }
    theirs.push_back(*seconds);
  }
  if (!inverted) {
    std::printf("bench spd_inverse_%zu not measured: no inverse\n", n);
    return false;
  }
  const std::string name = "spd_inverse_" + std::to_string(n);
  const double mine = 1e3 * Median(ours), peers = 1e3 * Median(theirs);
  Print(name, mine, "ms", peer.name(), peers, peers / mine, 1.5);
  const double sgemm = 1e3 * Median(products);
  Print(name + "_flops", mine, "ms", "sgemm", sgemm, sgemm / mine, 0.6);
  std::printf("info %s with OpenBLAS's kernels for %s on %zu threads\n", name.c_str(),
              openblas_get_corename(), pool.num_threads());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  constexpr std::string_view kPrefix = "spd_inverse_";
  const std::string_view name = argc == 3 ? argv[2] : "";
  const int n = name.starts_with(kPrefix) ? std::atoi(argv[2] + kPrefix.size()) : 0;
  if (n < 1 || n > 16384) {
    std::fprintf(stderr, "usage: linalg_bench PYTHON spd_inverse_N, 1 <= N <= 16384\n");
    return 2;
  }
  talweg::core::UseOneThread();
  return RunInverse(argv[1], static_cast<size_t>(n)) ? 0 : 1;
}
