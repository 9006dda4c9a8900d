// SPDX-License-Identifier: Apache-2.0
//
// What holds for every method of the registry, in every variant of its dialects and flags: a
// resumed run is the uninterrupted one, and neither cuts, threads nor instruction sets change a
// bit.
#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/kernels/kernel_testing.h"
#include "core/optimizers/optimizer_testing.h"
#include "core/optimizers/variants_testing.h"
#include "gtest/gtest.h"
#include "tests/support/pool.h"

namespace talweg::core {
namespace {

using ::talweg::testing::Pool;

constexpr size_t kSize = 5 * kBlock + 1234;  // an odd last block
constexpr uint64_t kSteps = 12;

std::vector<float> GradientOf(uint64_t step) { return AwkwardFloats(kSize, 100 + step); }
StepRates RatesOf(uint64_t step) { return {0.01 * static_cast<double>(1 + step % 3), 0.05}; }

// Parameters, slots and scalars of a run.
struct Outcome {
  std::vector<float> parameters;
  NamedState state;
};

void ExpectSame(const Outcome& expected, const Outcome& got) {
  ExpectSameBits(expected.parameters, got.parameters);
  EXPECT_EQ(expected.state.scalars, got.state.scalars);
  ASSERT_EQ(expected.state.slots.size(), got.state.slots.size());
  for (size_t i = 0; i < expected.state.slots.size(); ++i) {
    SCOPED_TRACE(expected.state.slots[i].first);
    EXPECT_EQ(expected.state.slots[i].first, got.state.slots[i].first);
    ExpectSameBits(expected.state.slots[i].second, got.state.slots[i].second);
  }
}

// How a step is cut, and which threads take the cuts.
struct Cut {
  size_t shard_elements = (kSize + kBlock - 1) / kBlock * kBlock;
  // Calls job(index) for each of `num_indices`.
  std::function<void(size_t num_indices, const std::function<void(size_t)>& job)> run =
      [](size_t num_indices, const std::function<void(size_t)>& job) {
        for (size_t index = 0; index < num_indices; ++index) job(index);
      };
};

const Cut kWholeVector;

// Takes steps [first, last] from `parameters`, each out of place and cut by `cut`.
void TakeSteps(Optimizer& optimizer, uint64_t first, uint64_t last, const Cut& cut,
               std::vector<float>& parameters) {
  for (uint64_t step = first; step <= last; ++step) {
    const std::vector<float> gradient = GradientOf(step);
    std::vector<float> next(kSize);
    TakeStep(optimizer, step, RatesOf(step), cut.shard_elements, cut.run, gradient, parameters,
             absl::MakeSpan(next));
    parameters = std::move(next);
  }
}

Outcome Uninterrupted(const Variant& variant, const Cut& cut = kWholeVector) {
  Outcome outcome = {AwkwardFloats(kSize, 1), {}};
  const auto optimizer = variant.method->create(*variant.config, SpaceOf(kSize));
  TakeSteps(*optimizer, 1, kSteps, cut, outcome.parameters);
  outcome.state = StateOf(*optimizer);
  return outcome;
}

template <class Body>
void ForEachVariant(const Body& body) {
  const std::vector<Variant> variants = AllVariants();
  ASSERT_GE(variants.size(), Methods().size());
  for (const Variant& variant : variants) {
    SCOPED_TRACE(variant.name);
    body(variant);
  }
}

TEST(OptimizerPropertyTest, EveryStepMovesParametersAndState) {
  // Or the comparisons below could hold of runs that do nothing.
  ForEachVariant([](const Variant& variant) {
    const auto optimizer = variant.method->create(*variant.config, SpaceOf(kSize));
    std::vector<float> parameters = AwkwardFloats(kSize, 1);
    for (uint64_t step = 1; step <= kSteps; ++step) {
      const Outcome before = {parameters, StateOf(*optimizer)};
      TakeSteps(*optimizer, step, step, kWholeVector, parameters);
      EXPECT_NE(before.parameters, parameters);
      const NamedState after = StateOf(*optimizer);
      EXPECT_TRUE(after.slots.empty() || after.slots != before.state.slots);
      EXPECT_TRUE(std::all_of(parameters.begin(), parameters.end(),
                              [](float value) { return std::isfinite(value); }));
    }
  });
}

TEST(OptimizerPropertyTest, ResumedRunIsTheUninterruptedRunBitForBit) {
  ForEachVariant([](const Variant& variant) {
    const Outcome expected = Uninterrupted(variant);
    for (const uint64_t saved_after : {uint64_t{0}, uint64_t{1}, uint64_t{2}, kSteps - 1}) {
      SCOPED_TRACE(saved_after);
      Outcome resumed = {AwkwardFloats(kSize, 1), {}};
      auto first = variant.method->create(*variant.config, SpaceOf(kSize));
      TakeSteps(*first, 1, saved_after, kWholeVector, resumed.parameters);
      const NamedState saved = StateOf(*first);
      first.reset();
      const auto second = variant.method->create(*variant.config, SpaceOf(kSize));
      Restore(saved, *second);
      TakeSteps(*second, saved_after + 1, kSteps, kWholeVector, resumed.parameters);
      resumed.state = StateOf(*second);
      ExpectSame(expected, resumed);
    }
  });
}

TEST(OptimizerPropertyTest, NoCutIntoShardsAndNoNumberOfThreadsChangesABit) {
  ForEachVariant([](const Variant& variant) {
    const Outcome expected = Uninterrupted(variant);
    for (const size_t blocks : {1, 2, 3}) {
      for (const size_t num_threads : {1, 2, 5}) {
        SCOPED_TRACE(absl::StrCat(blocks, " blocks a shard, ", num_threads, " threads"));
        Pool pool(num_threads);
        const Cut cut{blocks * kBlock,
                      [&](size_t num_indices, const auto& job) { pool.Run(num_indices, job); }};
        ExpectSame(expected, Uninterrupted(variant, cut));
      }
    }
  });
}

TEST(OptimizerPropertyTest, NoInstructionSetChangesABit) {
  ForEachVariant([](const Variant& variant) {
    const Outcome expected = Uninterrupted(variant);
    ForEachTarget([&] { ExpectSame(expected, Uninterrupted(variant)); });
  });
}

TEST(OptimizerPropertyTest, InPlaceAndOutOfPlaceGiveTheSameBits) {
  int num_tested = 0;
  ForEachVariant([&](const Variant& variant) {
    const Outcome expected = Uninterrupted(variant);
    Outcome in_place = {AwkwardFloats(kSize, 1), {}};
    const auto optimizer = variant.method->create(*variant.config, SpaceOf(kSize));
    if (optimizer->NumPasses() > 0) return;  // they read what they were given to write
    for (uint64_t step = 1; step <= kSteps; ++step) {
      const absl::Span<float> parameters = absl::MakeSpan(in_place.parameters);
      TakeStep(*optimizer, step, RatesOf(step), kBlock, kWholeVector.run, GradientOf(step),
               parameters, parameters);
    }
    in_place.state = StateOf(*optimizer);
    ExpectSame(expected, in_place);
    ++num_tested;
  });
  EXPECT_GE(num_tested, 9);
}

}  // namespace
}  // namespace talweg::core
