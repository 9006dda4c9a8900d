// SPDX-License-Identifier: Apache-2.0
//
// Bytes per second of the kernels on one core, for people that change one of them. The ratios that
// we promise are measured by tests/bench.
#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "core/base/aligned_buffer.h"
#include "core/base/shard.h"
#include "core/kernels/adam_update.h"
#include "core/kernels/exact_sum.h"
#include "core/kernels/mean_in_order.h"
#include "core/kernels/order_statistics.h"
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

// 16 contributions of 16 Mi elements and what their sum needs, made once for all threads.
struct Contributions {
  static constexpr size_t kSize = size_t{1} << 24;
  static constexpr size_t kCount = 16;

  std::vector<AlignedBuffer> vectors, copies;
  std::vector<WeightedVector> weighted;
  AlignedVector<double> hi = AlignedVector<double>(kSize), lo = AlignedVector<double>(kSize);
  AlignedBuffer mean = AlignedBuffer(kSize);
  double total_weight = 0;

  Contributions() {
    uint64_t state = 1;
    for (size_t i = 0; i < kCount; ++i) {
      AlignedBuffer& vector = vectors.emplace_back(kSize);
      copies.emplace_back(kSize);
      for (float& value : vector.span()) {
        state = state * 6364136223846793005 + 1442695040888963407;
        value = static_cast<float>(state >> 40) * 0x1p-24f - 0.5f;
      }
      const float weight = 1 / (1 + static_cast<float>(i));
      weighted.push_back({vector.data(), weight});
      total_weight += static_cast<double>(weight);
    }
  }

  // Calls at(begin, end) for the shards of this thread.
  template <class At>
  static void ForEachShard(const benchmark::State& state, const At& at) {
    for (auto shard = static_cast<size_t>(state.thread_index()); shard < NumShards(kSize);
         shard += static_cast<size_t>(state.threads())) {
      at(ShardAt(shard, kSize));
    }
  }

  std::vector<WeightedVector> Part(size_t first, size_t count, Shard shard) const {
    std::vector<WeightedVector> part(weighted.begin() + first, weighted.begin() + first + count);
    for (WeightedVector& vector : part) vector.values += shard.begin;
    return part;
  }
};

Contributions& TheContributions() {
  static Contributions contributions;
  return contributions;
}

template <class T>
absl::Span<T> Part(AlignedVector<T>& vector, Shard shard) {
  return vector.span().subspan(shard.begin, shard.size());
}

// Bytes of the contributions, whatever else is moved.
void CountBytes(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * int64_t{4} * Contributions::kCount *
                          Contributions::kSize / state.threads());
}

void BM_CopyContributions(benchmark::State& state) {
  Contributions& c = TheContributions();
  for (auto _ : state) {
    for (size_t i = 0; i < Contributions::kCount; ++i) {
      const size_t part = Contributions::kSize / static_cast<size_t>(state.threads());
      const size_t begin = part * static_cast<size_t>(state.thread_index());
      std::memcpy(c.copies[i].data() + begin, c.vectors[i].data() + begin, part * sizeof(float));
    }
  }
  CountBytes(state);
}
BENCHMARK(BM_CopyContributions)->ThreadRange(1, 2)->UseRealTime();

// Two passes: 8 folded, then 8 closing.
void BM_ExactSum(benchmark::State& state) {
  Contributions& c = TheContributions();
  std::vector<Residue> residues;
  for (auto _ : state) {
    Contributions::ForEachShard(state, [&](Shard shard) {
      FoldExact(c.Part(0, 8, shard), true, Part(c.hi, shard), Part(c.lo, shard), shard.begin,
                residues);
    });
    Contributions::ForEachShard(state, [&](Shard shard) {
      CloseExact(c.Part(8, 8, shard), false, Part(c.hi, shard), Part(c.lo, shard), shard.begin,
                 residues, c.total_weight, Part(c.mean, shard));
    });
  }
  CountBytes(state);
}
BENCHMARK(BM_ExactSum)->ThreadRange(1, 2)->UseRealTime();

void BM_MeanInOrder(benchmark::State& state) {
  Contributions& c = TheContributions();
  for (auto _ : state) {
    Contributions::ForEachShard(state, [&](Shard shard) {
      MeanInOrder(c.Part(0, Contributions::kCount, shard), c.total_weight, Part(c.mean, shard));
    });
  }
  CountBytes(state);
}
BENCHMARK(BM_MeanInOrder)->ThreadRange(1, 2)->UseRealTime();

// Of as many vectors; a seventh trimmed at either end.
void BM_TrimmedMean(benchmark::State& state) {
  constexpr size_t kSize = size_t{1} << 16;
  const auto count = static_cast<size_t>(state.range(0));
  std::vector<AlignedBuffer> vectors;
  std::vector<const float*> pointers;
  for (size_t k = 0; k < count; ++k) {
    AlignedBuffer& vector = vectors.emplace_back(kSize);
    for (size_t i = 0; i < kSize; ++i) vector.data()[i] = static_cast<float>(i * (k + 3) % 1009);
    pointers.push_back(vector.data());
  }
  AlignedBuffer mean(kSize);
  for (auto _ : state) {
    TrimmedMean(pointers, count / 7, mean.span());
    benchmark::DoNotOptimize(mean.data());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) * int64_t{4 * kSize});
}
BENCHMARK(BM_TrimmedMean)->Arg(4)->Arg(16)->Arg(64)->Arg(1024);

}  // namespace
}  // namespace talweg::core

BENCHMARK_MAIN();
