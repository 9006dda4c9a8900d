// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/rmsprop_update.h"

#include <cmath>

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

RmspropCoefficients StepWith(float inside, float outside) {
  return {.keep_v = 0.99f,
          .take_v = 0.01f,
          .take_spread = 0.0099f,
          .take = 0.7f,
          .inside = inside,
          .outside = outside,
          .keep_m = 0.9f,
          .move = 0.037f,
          .keep = 0.97f};
}

struct State {
  std::vector<float> parameters, v, last, offset, m;  // empty if they are not kept
};

State StateOf(size_t size, bool centered, bool with_m) {
  State state = {AwkwardFloats(size, 2), AwkwardFloats(size, 3), {}, {}, {}};
  for (float& v : state.v) v = std::abs(v);
  if (centered) {
    state.last = AwkwardFloats(size, 4);
    state.offset = AwkwardFloats(size, 6);
  }
  if (with_m) state.m = AwkwardFloats(size, 5);
  return state;
}

State AfterScalarLoop(const RmspropCoefficients& c, State state,
                      const std::vector<float>& gradient) {
  for (size_t i = 0; i < gradient.size(); ++i) {
    const float g = gradient[i];
    if (state.last.empty()) {
      state.v[i] = c.keep_v * state.v[i] + c.take_v * g * g;
    } else {
      const float distance = g - state.last[i] + state.offset[i];
      state.v[i] = c.keep_v * state.v[i] + c.take_spread * distance * distance;
      state.offset[i] = c.keep_v * distance;
      state.last[i] = g;
    }
    float step = c.take * g / (std::sqrt(state.v[i] + c.inside) + c.outside);
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
  ExpectSameBits(expected.last, got.last);
  ExpectSameBits(expected.offset, got.offset);
  ExpectSameBits(expected.m, got.m);
}

void Update(const RmspropCoefficients& step, Stores stores, const std::vector<float>& gradient,
            absl::Span<const float> from, absl::Span<float> to, State& state) {
  RmspropUpdate(step, stores, gradient, from, to, absl::MakeSpan(state.v),
                absl::MakeSpan(state.last), absl::MakeSpan(state.offset), absl::MakeSpan(state.m));
}

void ExpectTheScalarLoopsBits(const RmspropCoefficients& step, bool centered, bool with_m) {
  for (const size_t size : KernelSizes()) {
    const std::vector<float> gradient = AwkwardFloats(size, 1);
    const State before = StateOf(size, centered, with_m);
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
    for (const bool centered : {false, true}) {
      for (const bool with_m : {false, true}) ExpectTheScalarLoopsBits(step, centered, with_m);
    }
  }
}

}  // namespace
}  // namespace talweg::core
