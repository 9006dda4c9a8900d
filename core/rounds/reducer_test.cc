// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/reducer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "core/kernels/expansion.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

using ::testing::Each;
using Vector = std::vector<float>;

AggregationConfig Mean() {
  AggregationConfig config;
  config.mode = AggregationMode::kSynchronous;
  return config;
}

AggregationConfig Staged(Reduction reduction, ReduceOrder order = ReduceOrder::kAny) {
  AggregationConfig config = Mean();
  config.reduction = reduction;
  config.reduce_order = order;
  config.max_workers = 16;
  return config;
}

struct Part {
  Vector values;
  float weight = 1;
};

std::vector<WeightedVector> Borrow(const std::vector<Part>& parts, size_t begin, size_t end) {
  std::vector<WeightedVector> vectors;
  for (size_t i = begin; i < end; ++i) vectors.push_back({parts[i].values.data(), parts[i].weight});
  return vectors;
}

void Fold(Reducer& reducer, const std::vector<Part>& parts, size_t begin, size_t end) {
  if (begin == end) return;
  reducer.Prepare(end - begin - 1);
  reducer.BeginFold(Borrow(parts, begin, end));
  for (size_t shard = NumShards(parts[0].values.size()); shard > 0; --shard) {
    reducer.FoldShard(shard - 1);
  }
  reducer.EndFold();
}

// Reduces `parts`: the first ones are folded `batch` at a time, the last `at_close` with the close.
Vector Reduce(Reducer& reducer, const std::vector<Part>& parts, size_t batch, size_t at_close,
              StepOrder order = {}) {
  const size_t folded = parts.size() - at_close;
  for (size_t begin = 0; begin < folded; begin += batch) {
    Fold(reducer, parts, begin, std::min(begin + batch, folded));
  }
  ExactSum weight;
  for (const Part& part : parts) weight.Add(part.weight);
  order.contributors = static_cast<uint32_t>(parts.size());
  order.total_weight = weight.Value();
  const size_t num_elements = parts[0].values.size();
  Vector mean(num_elements, -7);
  reducer.Prepare(at_close);
  reducer.BeginClose(order, Borrow(parts, folded, parts.size()), absl::MakeSpan(mean));
  for (size_t shard = 0; shard < NumShards(num_elements); ++shard) reducer.CloseShard(shard);
  reducer.EndClose();
  return mean;
}

// The definition, element by element.
Vector ExactMean(const std::vector<Part>& parts) {
  ExactSum weight;
  for (const Part& part : parts) weight.Add(part.weight);
  Vector mean(parts[0].values.size());
  for (size_t i = 0; i < mean.size(); ++i) {
    ExactSum sum;
    for (const Part& part : parts) sum.Add(static_cast<double>(part.weight) * part.values[i]);
    mean[i] = static_cast<float>(sum.Value() / weight.Value());
  }
  return mean;
}

// Five contributions whose elements span 2^70, cancel, and vanish.
std::vector<Part> Wild(size_t num_elements) {
  std::mt19937 random(5);
  std::vector<Part> parts(5);
  for (size_t p = 0; p < parts.size(); ++p) {
    parts[p].weight = 1 / static_cast<float>(1 + p);
    parts[p].values.resize(num_elements);
    for (size_t i = 0; i < num_elements; ++i) {
      const float value = static_cast<float>(random() % 2000) / 1000 - 1;
      parts[p].values[i] = std::ldexp(value, static_cast<int>(random() % 70) - 35);
      if (i % 7 == 0) parts[p].values[i] = p % 2 == 0 ? 1e20f : -1e20f * (1 + p) / p;
      if (i % 11 == 0) parts[p].values[i] = 0;
    }
  }
  return parts;
}

TEST(ReducerTest, EveryOrderOfArrivalAndEveryBatchGivesTheExactMean) {
  const std::vector<Part> parts = Wild(100);
  const Vector expected = ExactMean(parts);
  std::vector<size_t> order(parts.size());
  std::iota(order.begin(), order.end(), 0);
  do {
    std::vector<Part> arrived;
    for (const size_t index : order) arrived.push_back(parts[index]);
    for (size_t batch = 1; batch <= 5; ++batch) {
      for (const size_t at_close : {0, 1, 3, 5}) {
        Reducer reducer(Mean(), 100);
        ASSERT_EQ(Reduce(reducer, arrived, batch, at_close), expected);
      }
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(ReducerTest, OneAfterTheOtherRoundsBeginAnew) {
  Reducer reducer(Mean(), 50);
  for (int round = 0; round < 3; ++round) {
    std::vector<Part> parts = Wild(50);
    for (Part& part : parts) part.weight += static_cast<float>(round);
    EXPECT_EQ(Reduce(reducer, parts, 2, 1), ExactMean(parts));
  }
}

TEST(ReducerTest, AForgottenRoundLeavesNothing) {
  for (const AggregationConfig& config :
       {Mean(), Staged(Reduction::kMean, ReduceOrder::kByWorker), Staged(Reduction::kMedian)}) {
    Reducer reducer(config, 20);
    Fold(reducer, {{Vector(20, 1e30f), 100}, {Vector(20, -3), 1}}, 0, 2);
    reducer.Reset();
    StepOrder order;
    if (config.reduce_order == ReduceOrder::kByWorker) order.by_worker = {1, 0};
    const std::vector<Part> parts = {{Vector(20, 2), 1}, {Vector(20, 4), 1}};
    EXPECT_THAT(Reduce(reducer, parts, 1, 1, order), Each(3));
  }
}

TEST(ReducerTest, AnyThreadsGiveTheSameBits) {
  const size_t num_elements = 3 * kShard + 777;
  const std::vector<Part> parts = Wild(num_elements);
  for (const AggregationConfig& config : {Mean(), Staged(Reduction::kMedian)}) {
    Reducer alone(config, num_elements);
    const Vector expected = Reduce(alone, parts, 5, 0);
    Reducer together(config, num_elements);
    together.Prepare(4);
    Vector mean(num_elements);
    StepOrder order;
    order.contributors = 5;
    const auto on_threads = [&](auto work) {
      std::vector<std::thread> threads;
      for (size_t shard = 0; shard < NumShards(num_elements); ++shard) {
        threads.emplace_back([&work, shard] { work(shard); });
      }
      for (std::thread& thread : threads) thread.join();
    };
    ExactSum weight;
    for (const Part& part : parts) weight.Add(part.weight);
    order.total_weight = weight.Value();
    together.BeginFold(Borrow(parts, 0, 5));
    on_threads([&](size_t shard) { together.FoldShard(shard); });
    together.EndFold();
    together.BeginClose(order, {}, absl::MakeSpan(mean));
    on_threads([&](size_t shard) { together.CloseShard(shard); });
    together.EndClose();
    EXPECT_TRUE(mean == expected);
  }
}

TEST(ReducerTest, ByWorkerSumsInTheOrderThatIsNamed) {
  // 2^60 + 3 - 2^60 in float64 is 0 or 3, by the order.
  const float big = std::ldexp(1.0f, 60);
  const std::vector<Part> parts = {{Vector(9, big)}, {Vector(9, -big)}, {Vector(9, 3)}};
  const struct {
    std::vector<uint32_t> by_worker;
    float mean;
  } rows[] = {{{0, 1, 2}, 1}, {{1, 0, 2}, 1}, {{0, 2, 1}, 0}, {{2, 0, 1}, 0}};
  for (const auto& row : rows) {
    for (const size_t at_close : {0, 1, 2, 3}) {
      Reducer reducer(Staged(Reduction::kMean, ReduceOrder::kByWorker), 9);
      StepOrder order;
      order.by_worker = row.by_worker;
      EXPECT_THAT(Reduce(reducer, parts, 2, at_close, order), Each(row.mean));
    }
  }
}

TEST(ReducerTest, MedianAndTrimmedMeanTakeAllThatCame) {
  std::vector<Part> parts;
  for (const float value : {5.0f, 1e30f, 1.0f, -1e30f, 3.0f}) parts.push_back({Vector(9, value)});
  for (const size_t at_close : {0, 1, 5}) {
    Reducer median(Staged(Reduction::kMedian), 9);
    EXPECT_THAT(Reduce(median, parts, 2, at_close), Each(3));
    Reducer trimmed(Staged(Reduction::kTrimmedMean), 9);
    StepOrder order;
    order.trim = 1;
    EXPECT_THAT(Reduce(trimmed, parts, 2, at_close, order), Each(3));
    order.trim = 2;
    EXPECT_THAT(Reduce(trimmed, parts, 2, at_close, order), Each(3));
  }
}

TEST(ReducerTest, WhatWasStagedMayBeOverwritten) {
  Reducer reducer(Staged(Reduction::kMedian), 9);
  std::vector<Part> parts = {{Vector(9, 1)}, {Vector(9, 2)}};
  Fold(reducer, parts, 0, 2);
  for (Part& part : parts) part.values.assign(9, 99);  // a staging buffer goes back
  Vector median(9);
  StepOrder order;
  order.contributors = 2;
  reducer.BeginClose(order, {}, absl::MakeSpan(median));
  reducer.CloseShard(0);
  reducer.EndClose();
  EXPECT_THAT(median, Each(1.5f));
}

TEST(ReducerDeathTest, NoMoreIsStagedThanWasPrepared) {
  Reducer reducer(Staged(Reduction::kMedian), 9);
  const std::vector<Part> parts = {{Vector(9, 1)}, {Vector(9, 2)}};
  reducer.Prepare(0);
  EXPECT_DEATH(reducer.BeginFold(Borrow(parts, 0, 2)), "broken promise");
}

}  // namespace
}  // namespace talweg::core
