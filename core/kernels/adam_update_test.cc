// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/adam_update.h"

#include <algorithm>
#include <cmath>

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

constexpr AdamCoefficients kStep = {.keep_m = 0.9f,
                                    .take_m = 0.1f,
                                    .keep_v = 0.999f,
                                    .take_v = 0.001f,
                                    .rate = 0.0123f,
                                    .root_scale = 3.21f,
                                    .epsilon = 1e-8f,
                                    .keep = 0.97f};

struct State {
  std::vector<float> parameters, m, v, v_max;
};

State StateOf(size_t size, bool with_max) {
  State state = {AwkwardFloats(size, 2), AwkwardFloats(size, 3), AwkwardFloats(size, 4), {}};
  if (with_max) state.v_max = AwkwardFloats(size, 5);
  for (float& v : state.v) v = std::abs(v);
  for (float& v : state.v_max) v = std::abs(v);
  return state;
}

State AfterScalarLoop(State state, const std::vector<float>& gradient) {
  for (size_t i = 0; i < gradient.size(); ++i) {
    const float g = gradient[i];
    state.m[i] = kStep.keep_m * state.m[i] + kStep.take_m * g;
    state.v[i] = kStep.keep_v * state.v[i] + kStep.take_v * g * g;
    float divisor = state.v[i];
    if (!state.v_max.empty()) divisor = state.v_max[i] = std::max(state.v_max[i], divisor);
    state.parameters[i] =
        kStep.keep * state.parameters[i] -
        kStep.rate * state.m[i] / (std::sqrt(divisor) * kStep.root_scale + kStep.epsilon);
  }
  return state;
}

void ExpectSameState(const State& expected, const State& got) {
  ExpectSameBits(expected.parameters, got.parameters);
  ExpectSameBits(expected.m, got.m);
  ExpectSameBits(expected.v, got.v);
  ExpectSameBits(expected.v_max, got.v_max);
}

TEST(AdamUpdateTest, EveryTargetGivesTheScalarLoopsBits) {
  for (const bool with_max : {false, true}) {
    for (const size_t size : KernelSizes()) {
      const std::vector<float> gradient = AwkwardFloats(size, 1);
      const State before = StateOf(size, with_max);
      const State expected = AfterScalarLoop(before, gradient);
      ForEachTarget([&] {
        for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
          for (const size_t offset : {0, 1}) {
            State got = before;
            OffsetVector to(std::vector<float>(size), offset);
            AdamUpdate(kStep, stores, gradient, before.parameters, to.span(), absl::MakeSpan(got.m),
                       absl::MakeSpan(got.v), absl::MakeSpan(got.v_max));
            got.parameters.assign(to.span().begin(), to.span().end());
            ExpectSameState(expected, got);
          }
        }
        State in_place = before;
        AdamUpdate(kStep, Stores::kCached, gradient, in_place.parameters,
                   absl::MakeSpan(in_place.parameters), absl::MakeSpan(in_place.m),
                   absl::MakeSpan(in_place.v), absl::MakeSpan(in_place.v_max));
        ExpectSameState(expected, in_place);
      });
    }
  }
}

TEST(AdamUpdateTest, KeepsDenormals) {
  // Both averages end below the smallest normal number, 1.2e-38.
  const std::vector<float> gradient(33, 1e-19f);
  ForEachTarget([&] {
    std::vector<float> parameters(33, 1), m(33, 1e-40f), v(33);
    AdamUpdate(kStep, Stores::kCached, gradient, parameters, absl::MakeSpan(parameters),
               absl::MakeSpan(m), absl::MakeSpan(v), {});
    for (const float value : v) {
      EXPECT_EQ(std::fpclassify(value), FP_SUBNORMAL);
      EXPECT_FLOAT_EQ(value, 0.001f * 1e-19f * 1e-19f);
    }
  });
}

TEST(AdamUpdateTest, LargestFiniteGradientWithASmallWeightDoesNotOverflow) {
  // take_v g g, not take_v (g g): as torch.optim orders it.
  std::vector<float> gradient(17, 1e20f), parameters(17, 1), m(17), v(17);
  ForEachTarget([&] {
    std::fill(v.begin(), v.end(), 0);
    AdamUpdate(kStep, Stores::kCached, gradient, parameters, absl::MakeSpan(parameters),
               absl::MakeSpan(m), absl::MakeSpan(v), {});
    for (const float value : v) EXPECT_TRUE(std::isfinite(value));
  });
}

TEST(AdamUpdateTest, KeepingAllIsTheStepWithoutDecay) {
  const std::vector<float> gradient = AwkwardFloats(1000, 1);
  State expected = StateOf(1000, false);
  const State before = expected;
  AdamCoefficients step = kStep;
  step.keep = 1;
  for (size_t i = 0; i < 1000; ++i) {
    const float g = gradient[i];
    expected.m[i] = step.keep_m * expected.m[i] + step.take_m * g;
    expected.v[i] = step.keep_v * expected.v[i] + step.take_v * g * g;
    expected.parameters[i] -=
        step.rate * expected.m[i] / (std::sqrt(expected.v[i]) * step.root_scale + step.epsilon);
  }
  ForEachTarget([&] {
    State got = before;
    AdamUpdate(step, Stores::kCached, gradient, before.parameters, absl::MakeSpan(got.parameters),
               absl::MakeSpan(got.m), absl::MakeSpan(got.v), {});
    ExpectSameState(expected, got);
  });
}

}  // namespace
}  // namespace talweg::core
