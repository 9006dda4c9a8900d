// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/rmsprop_update.h"

#include <algorithm>
#include <cmath>

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

RmspropCoefficients StepWith(float inside, float outside) {
  return {.keep_v = 0.99f,
          .take_v = 0.01f,
          .take = 0.7f,
          .inside = inside,
          .outside = outside,
          .keep_m = 0.9f,
          .move = 0.037f,
          .keep = 0.97f};
}

struct State {
  std::vector<float> parameters, v, mean, m;  // the last two are empty if they are not kept
};

State StateOf(size_t size, bool with_mean, bool with_m) {
  State state = {AwkwardFloats(size, 2), AwkwardFloats(size, 3), {}, {}};
  for (float& v : state.v) v = std::abs(v);
  if (with_mean) state.mean = AwkwardFloats(size, 4);
  if (with_m) state.m = AwkwardFloats(size, 5);
  return state;
}

State AfterScalarLoop(const RmspropCoefficients& c, State state,
                      const std::vector<float>& gradient) {
  for (size_t i = 0; i < gradient.size(); ++i) {
    const float g = gradient[i];
    state.v[i] = c.keep_v * state.v[i] + c.take_v * g * g;
    float spread = state.v[i];
    if (!state.mean.empty()) {
      state.mean[i] = c.keep_v * state.mean[i] + c.take_v * g;
      spread = std::max(spread - state.mean[i] * state.mean[i], 0.0f);
    }
    float step = c.take * g / (std::sqrt(spread + c.inside) + c.outside);
    if (!state.m.empty()) {
      state.m[i] = c.keep_m * state.m[i] + step;
      step = c.move * state.m[i];
    }
    state.parameters[i] = c.keep * state.parameters[i] - step;
  }
  return state;
}

void ExpectSameState(const State& expected, const State& got) {
  ExpectSameBits(expected.parameters, got.parameters);
  ExpectSameBits(expected.v, got.v);
  ExpectSameBits(expected.mean, got.mean);
  ExpectSameBits(expected.m, got.m);
}

void Update(const RmspropCoefficients& step, Stores stores, const std::vector<float>& gradient,
            absl::Span<const float> from, absl::Span<float> to, State& state) {
  RmspropUpdate(step, stores, gradient, from, to, absl::MakeSpan(state.v),
                absl::MakeSpan(state.mean), absl::MakeSpan(state.m));
}

void ExpectTheScalarLoopsBits(const RmspropCoefficients& step, bool with_mean, bool with_m) {
  for (const size_t size : KernelSizes()) {
    const std::vector<float> gradient = AwkwardFloats(size, 1);
    const State before = StateOf(size, with_mean, with_m);
    const State expected = AfterScalarLoop(step, before, gradient);
    ForEachTarget([&] {
      for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
        for (const size_t offset : {0, 1}) {
          State got = before;
          OffsetVector to(std::vector<float>(size), offset);
          Update(step, stores, gradient, before.parameters, to.span(), got);
          got.parameters.assign(to.span().begin(), to.span().end());
          ExpectSameState(expected, got);
        }
      }
      State in_place = before;
      Update(step, Stores::kCached, gradient, in_place.parameters,
             absl::MakeSpan(in_place.parameters), in_place);
      ExpectSameState(expected, in_place);
    });
  }
}

TEST(RmspropUpdateTest, EveryTargetGivesTheScalarLoopsBits) {
  for (const RmspropCoefficients& step : {StepWith(1e-8f, 0), StepWith(0, 1e-8f)}) {
    for (const bool with_mean : {false, true}) {
      for (const bool with_m : {false, true}) ExpectTheScalarLoopsBits(step, with_mean, with_m);
    }
  }
}

TEST(RmspropUpdateTest, SpreadBelowZeroCountsAsZero) {
  // A mean larger than the root of v: as if by rounding, only more so.
  const RmspropCoefficients step = StepWith(0, 0.5f);
  ForEachTarget([&] {
    std::vector<float> parameters(17, 0), v(17, 1), mean(17, 2);
    RmspropUpdate(step, Stores::kCached, std::vector<float>(17, 1), parameters,
                  absl::MakeSpan(parameters), absl::MakeSpan(v), absl::MakeSpan(mean), {});
    for (const float value : parameters) EXPECT_EQ(value, -step.take / 0.5f);
  });
}

}  // namespace
}  // namespace talweg::core
