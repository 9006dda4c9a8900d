// SPDX-License-Identifier: Apache-2.0
//
// Bytes per second of the kernels on one core, for whoever changes one of them. The ratios that we
// promise are measured by tests/bench.
#include <vector>

#include "benchmark/benchmark.h"
#include "core/kernels/adam_update.h"
#include "core/kernels/squared_norm.h"

namespace talweg::core {
namespace {

void BM_AdamUpdate(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  const std::vector<float> gradient(size, 0.5f);
  std::vector<float> from(size, 1), to(size), m(size), v(size);
  const AdamCoefficients coefficients = {.keep_m = 0.9f,
                                         .take_m = 0.1f,
                                         .keep_v = 0.999f,
                                         .take_v = 0.001f,
                                         .rate = 0.001f,
                                         .root_scale = 1,
                                         .epsilon = 1e-8f};
  for (auto _ : state) {
    AdamUpdate(coefficients, Stores::kCached, gradient, from, absl::MakeSpan(to), absl::MakeSpan(m),
               absl::MakeSpan(v), {});
    benchmark::DoNotOptimize(to.data());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) * 28);
}
BENCHMARK(BM_AdamUpdate)->Range(1 << 10, 1 << 22);

void BM_SquaredNorm(benchmark::State& state) {
  const std::vector<float> values(static_cast<size_t>(state.range(0)), 0.5f);
  for (auto _ : state) benchmark::DoNotOptimize(SquaredNorm(values));
  state.SetBytesProcessed(state.iterations() * state.range(0) * 4);
}
BENCHMARK(BM_SquaredNorm)->Range(1 << 10, 1 << 22);

}  // namespace
}  // namespace talweg::core

BENCHMARK_MAIN();
