// SPDX-License-Identifier: Apache-2.0
//
// What core/kernels/saturation.h promises, of every update that has slots: no finite gradient makes
// a slot infinite, an infinite slot becomes finite, and the bits are the same on every target. The
// tests of the updates show that all other gradients give the bits of a loop without saturation.
#include "core/kernels/saturation.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/kernels/adagrad_update.h"
#include "core/kernels/adam_update.h"
#include "core/kernels/average_update.h"
#include "core/kernels/kernel_testing.h"
#include "core/kernels/lamb_update.h"
#include "core/kernels/lion_update.h"
#include "core/kernels/momentum_update.h"
#include "core/kernels/nadam_update.h"
#include "core/kernels/nesterov_update.h"
#include "core/kernels/prepare_gradient.h"
#include "core/kernels/rmsprop_update.h"

namespace talweg::core {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

using Floats = absl::Span<float>;

// An update of parameters, all 0, that has up to four slots.
struct Update {
  std::string name;
  size_t num_slots;
  std::function<void(absl::Span<const float> gradient, Floats to, std::vector<Floats> slots)> run;
};

std::vector<Update> Updates() {
  const auto zeros = [](Floats to) { return std::vector<float>(to.size()); };
  constexpr Stores kStores = Stores::kCached;
  // Shares that add up to more than 1, as rounded shares may.
  return {
      {"adagrad", 1,
       [=](auto g, Floats to, auto s) {
         AdagradUpdate({0.1f, 0, 1e-10f}, kStores, g, zeros(to), to, s[0]);
       }},
      {"adam", 2,
       [=](auto g, Floats to, auto s) {
         AdamUpdate({0.9f, 0.1f, 0.9f, 0.2f, 0.1f, 1, 1e-8f}, kStores, g, zeros(to), to, s[0], s[1],
                    {});
       }},
      {"amsgrad", 3,
       [=](auto g, Floats to, auto s) {
         AdamUpdate({0.9f, 0.1f, 0.9f, 0.2f, 0.1f, 1, 1e-8f}, kStores, g, zeros(to), to, s[0], s[1],
                    s[2]);
       }},
      {"nadam", 2,
       [=](auto g, Floats to, auto s) {
         NadamUpdate({0.9f, 0.1f, 0.9f, 0.2f, 0.1f, 0.1f, 1, 1e-8f}, kStores, g, zeros(to), to,
                     s[0], s[1]);
       }},
      {"lamb", 2,
       [=](auto g, Floats to, auto s) {
         LambDirection({0.9f, 0.1f, 0.9f, 0.2f, 10, 1, 1e-6f, 0}, kStores, g, zeros(to), to, s[0],
                       s[1]);
       }},
      {"lion", 1,
       [=](auto g, Floats to, auto s) {
         LionUpdate({0.9f, 0.1f, 0.9f, 0.2f, 0.1f}, kStores, g, zeros(to), to, s[0]);
       }},
      {"momentum", 1,
       [=](auto g, Floats to, auto s) {
         MomentumUpdate({0.9f, 1, -1e-9f}, kStores, g, zeros(to), to, s[0]);
       }},
      {"nesterov", 1,
       [=](auto g, Floats to, auto s) {
         NesterovUpdate({0.9f, 1, 0, 1, -1e-9f}, kStores, g, zeros(to), to, s[0]);
       }},
      {"rmsprop", 2,
       [=](auto g, Floats to, auto s) {
         RmspropUpdate({0.9f, 0.2f, 0, 1, 0, 1e-8f, 0.9f, 1e-9f}, kStores, g, zeros(to), to, s[0],
                       {}, {}, s[1]);
       }},
      {"centered rmsprop", 4,
       [=](auto g, Floats to, auto s) {
         RmspropUpdate({0.9f, 0, 0.25f, 1e37f, 0, 1e-30f, 0.9f, 1e-9f}, kStores, g, zeros(to), to,
                       s[0], s[1], s[2], s[3]);
       }},
  };
}

// Three vectors and a rest, on any target.
constexpr size_t kSize = 51;

// The parameters and slots after each gradient, one after the other; all slots start at `initial`.
std::vector<float> Trajectory(const Update& update, float initial,
                              const std::vector<float>& gradients) {
  std::vector<std::vector<float>> slots(update.num_slots, std::vector<float>(kSize, initial));
  std::vector<float> all;
  for (const float g : gradients) {
    std::vector<float> to(kSize);
    update.run(std::vector<float>(kSize, g), absl::MakeSpan(to), [&] {
      std::vector<Floats> spans(slots.begin(), slots.end());
      return spans;
    }());
    all.insert(all.end(), to.begin(), to.end());
    for (const auto& slot : slots) all.insert(all.end(), slot.begin(), slot.end());
  }
  return all;
}

TEST(SaturationTest, NoFiniteGradientMakesASlotOrAStepInfinite) {
  const std::vector<float> gradients = {1,         1e22f,    1,         kLargest, kLargest,
                                        -kLargest, kLargest, -kLargest, 1,        0};
  for (const Update& update : Updates()) {
    SCOPED_TRACE(update.name);
    std::vector<float> expected;
    ForEachTarget([&] {
      const std::vector<float> got = Trajectory(update, 0, gradients);
      for (const float value : got) ASSERT_TRUE(std::isfinite(value));
      if (expected.empty()) expected = got;
      ExpectSameBits(expected, got);
    });
  }
}

TEST(SaturationTest, AnInfiniteSlotOfAnEarlierVersionBecomesFinite) {
  for (const Update& update : Updates()) {
    // Adam's m never became infinite, and neither did the last gradient and its distance.
    if (update.num_slots > 1) continue;
    SCOPED_TRACE(update.name);
    ForEachTarget([&] {
      for (const float value : Trajectory(update, kInfinity, {1, 1})) {
        ASSERT_TRUE(std::isfinite(value));
      }
    });
  }
  ForEachTarget([&] {
    std::vector<float> to(kSize), m(kSize), v(kSize, kInfinity);
    AdamUpdate({0.9f, 0.1f, 0.5f, 0.5f, 0.1f, 1, 1e-8f}, Stores::kCached,
               std::vector<float>(kSize, 1), to, absl::MakeSpan(to), absl::MakeSpan(m),
               absl::MakeSpan(v), {});
    EXPECT_EQ(v, std::vector<float>(kSize, kLargest));
  });
}

TEST(SaturationTest, AGradientThatCannotBeSquaredIsTheLargestThatCan) {
  for (const Update& update : Updates()) {
    if (update.name == "lion" || update.name == "momentum" || update.name == "nesterov") continue;
    SCOPED_TRACE(update.name);
    ForEachTarget([&] {
      for (const float sign : {1.0f, -1.0f}) {
        ExpectSameBits(Trajectory(update, 0, {sign * kLargestSquarable, 1}),
                       Trajectory(update, 0, {sign * 1e22f, 1}));
      }
    });
  }
}

TEST(SaturationTest, TheLargestSquarableIsTheLast) {
  EXPECT_TRUE(std::isfinite(kLargestSquarable * kLargestSquarable));
  const float next = std::nextafter(kLargestSquarable, kInfinity);
  EXPECT_FALSE(std::isfinite(next * next));
}

TEST(SaturationTest, CoupledDecayDoesNotMakeAGradientInfinite) {
  ForEachTarget([&] {
    for (const float sign : {1.0f, -1.0f}) {
      std::vector<float> to(kSize);
      PrepareGradient({.decay = 2}, std::vector<float>(kSize, sign * 3e38f),
                      std::vector<float>(kSize, sign * 3e38f), absl::MakeSpan(to));
      EXPECT_EQ(to, std::vector<float>(kSize, sign * kLargest));
    }
  });
}

TEST(SaturationTest, AParameterThatChangesItsSignDoesNotMakeItsAverageInfinite) {
  for (const float take : {1.0f, 0.5f, 0.1f}) {
    ForEachTarget([&] {
      std::vector<float> average(kSize, -3e38f), low(kSize);
      for (int step = 0; step < 400; ++step) {
        AverageUpdate(take, std::vector<float>(kSize, 3e38f), absl::MakeSpan(average),
                      absl::MakeSpan(low));
      }
      EXPECT_EQ(average, std::vector<float>(kSize, 3e38f)) << take;
    });
  }
}

}  // namespace
}  // namespace talweg::core
