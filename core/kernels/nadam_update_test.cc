// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/nadam_update.h"

#include <cmath>

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

constexpr NadamCoefficients kStep = {.keep_m = 0.9f,
                                     .take_m = 0.1f,
                                     .keep_v = 0.999f,
                                     .take_v = 0.001f,
                                     .rate_g = 0.0045f,
                                     .rate_m = 0.0123f,
                                     .root_scale = 3.21f,
                                     .epsilon = 1e-8f,
                                     .keep = 0.97f};

struct State {
  std::vector<float> parameters, m, v;
};

State StateOf(size_t size) {
  State state = {AwkwardFloats(size, 2), AwkwardFloats(size, 3), AwkwardFloats(size, 4)};
  for (float& v : state.v) v = std::abs(v);
  return state;
}

State AfterScalarLoop(State state, const std::vector<float>& gradient) {
  for (size_t i = 0; i < gradient.size(); ++i) {
    const float g = gradient[i];
    state.m[i] = kStep.keep_m * state.m[i] + kStep.take_m * g;
    state.v[i] = kStep.keep_v * state.v[i] + kStep.take_v * g * g;
    const float divisor = std::sqrt(state.v[i]) * kStep.root_scale + kStep.epsilon;
    state.parameters[i] = kStep.keep * state.parameters[i] - kStep.rate_g * g / divisor -
                          kStep.rate_m * state.m[i] / divisor;
  }
  return state;
}

void ExpectSameState(const State& expected, const State& got) {
  ExpectSameBits(expected.parameters, got.parameters);
  ExpectSameBits(expected.m, got.m);
  ExpectSameBits(expected.v, got.v);
}

TEST(NadamUpdateTest, EveryTargetGivesTheScalarLoopsBits) {
  for (const size_t size : KernelSizes()) {
    const std::vector<float> gradient = AwkwardFloats(size, 1);
    const State before = StateOf(size);
    const State expected = AfterScalarLoop(before, gradient);
    ForEachTarget([&] {
      for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
        for (const size_t offset : {0, 1}) {
          State got = before;
          OffsetVector to(std::vector<float>(size), offset);
          NadamUpdate(kStep, stores, gradient, before.parameters, to.span(), absl::MakeSpan(got.m),
                      absl::MakeSpan(got.v));
          got.parameters.assign(to.span().begin(), to.span().end());
          ExpectSameState(expected, got);
        }
      }
      State in_place = before;
      NadamUpdate(kStep, Stores::kCached, gradient, in_place.parameters,
                  absl::MakeSpan(in_place.parameters), absl::MakeSpan(in_place.m),
                  absl::MakeSpan(in_place.v));
      ExpectSameState(expected, in_place);
    });
  }
}

}  // namespace
}  // namespace talweg::core
