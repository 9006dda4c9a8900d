// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/lamb_update.h"

#include <cmath>

#include "core/kernels/kernel_testing.h"
#include "core/kernels/squared_norm.h"

namespace talweg::core {
namespace {

constexpr LambCoefficients kStep = {.keep_m = 0.9f,
                                    .take_m = 0.1f,
                                    .keep_v = 0.999f,
                                    .take_v = 0.001f,
                                    .m_scale = 2.7f,
                                    .root_scale = 3.21f,
                                    .epsilon = 1e-6f,
                                    .decay = 0.03f};

struct State {
  std::vector<float> direction, m, v;
};

State StateOf(size_t size) {
  State state = {std::vector<float>(size), AwkwardFloats(size, 3), AwkwardFloats(size, 4)};
  for (float& v : state.v) v = std::abs(v);
  return state;
}

State AfterScalarLoop(State state, const std::vector<float>& gradient,
                      const std::vector<float>& from) {
  for (size_t i = 0; i < gradient.size(); ++i) {
    const float g = gradient[i];
    state.m[i] = kStep.keep_m * state.m[i] + kStep.take_m * g;
    state.v[i] = kStep.keep_v * state.v[i] + kStep.take_v * g * g;
    state.direction[i] =
        kStep.m_scale * state.m[i] / (std::sqrt(state.v[i]) * kStep.root_scale + kStep.epsilon) +
        kStep.decay * from[i];
  }
  return state;
}

TEST(LambUpdateTest, EveryTargetGivesTheScalarLoopsBitsAndTheSumsOfSquaredNorm) {
  for (const size_t size : KernelSizes()) {
    const std::vector<float> gradient = AwkwardFloats(size, 1);
    const std::vector<float> from = AwkwardFloats(size, 2);
    const State before = StateOf(size);
    const State expected = AfterScalarLoop(before, gradient, from);
    ForEachTarget([&] {
      for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
        for (const size_t offset : {0, 1}) {
          State got = before;
          OffsetVector to(std::vector<float>(size), offset);
          const LambSums sums = LambDirection(kStep, stores, gradient, from, to.span(),
                                              absl::MakeSpan(got.m), absl::MakeSpan(got.v));
          ExpectSameBits(expected.direction, to.span());
          ExpectSameBits(expected.m, got.m);
          ExpectSameBits(expected.v, got.v);
          EXPECT_EQ(sums.parameters, SquaredNorm(from)) << size;
          EXPECT_EQ(sums.direction, SquaredNorm(expected.direction)) << size;
        }
      }
    });
  }
}

}  // namespace
}  // namespace talweg::core
