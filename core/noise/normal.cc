// SPDX-License-Identifier: Apache-2.0
#include "core/noise/normal.h"

#include <bit>
#include <cmath>
#include <utility>

namespace talweg::core {
namespace {

// log(k 2^-31) for a whole number k in [1, 2^31].
float LogOfShare(float k) {
  // k = m 2^e with m in [sqrt(1/2), sqrt(2)): adding the distance from sqrt(1/2) to 1 to the bits
  // carries into the exponent if m must be halved.
  constexpr uint32_t kSqrtHalf = 0x3f3504f3;
  constexpr uint32_t kOne = 0x3f800000;
  const uint32_t bits = std::bit_cast<uint32_t>(k) + (kOne - kSqrtHalf);
  const float m = std::bit_cast<float>((bits & 0x007fffff) + kSqrtHalf);
  const float e = static_cast<float>(static_cast<int32_t>(bits >> 23) - 127 - 31);

  // log(1 + f) = f - f^2 / 2 + f^3 P(f)
  const float f = m - 1.0f;
  const float square = f * f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  // e log 2 in two parts: the larger has few bits, so that its product is exact.
  float rest = p * f * square;
  rest = rest - e * 2.12194440e-4f;
  rest = rest - 0.5f * square;
  return (f + rest) + e * 0.693359375f;
}

float FlipSign(float value, uint32_t sign_bit) {
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) ^ sign_bit);
}

// Cosine and sine of the angle that is word / 2^32 of a turn.
std::pair<float, float> CosineAndSine(uint32_t word) {
  const uint32_t quadrant = (word + 0x20000000u) >> 30;
  const int32_t left = static_cast<int32_t>(word << 2) | 2;
  const float y = static_cast<float>(left) * 0x1.921fb6p-32f;
  const float square = y * y;
  float s = -1.9515295891e-4f;
  s = s * square + 8.3321608736e-3f;
  s = s * square - 1.6666654611e-1f;
  const float sine = s * square * y + y;
  float c = 2.443315711809948e-5f;
  c = c * square - 1.388731625493765e-3f;
  c = c * square + 4.166664568298827e-2f;
  c = c * square - 0.5f;
  const float cosine = c * square + 1.0f;
  // Turns by the quarters without a branch, because a branch could not be predicted.
  const float turned_cosine = (quadrant & 1) != 0 ? sine : cosine;
  const float turned_sine = (quadrant & 1) != 0 ? cosine : sine;
  return {FlipSign(turned_cosine, ((quadrant + 1) & 2) << 30),
          FlipSign(turned_sine, (quadrant & 2) << 30)};
}

std::pair<float, float> BoxMuller(uint32_t a, uint32_t b) {
  const float k = static_cast<float>(static_cast<int32_t>(a >> 1 | 1));
  const float radius = std::sqrt(-2.0f * LogOfShare(k));
  const auto [cosine, sine] = CosineAndSine(b);
  return {radius * cosine, radius * sine};
}

}  // namespace

std::array<float, 4> NormalsFromWords(const PhiloxWords& words) {
  const auto [n0, n1] = BoxMuller(words[0], words[1]);
  const auto [n2, n3] = BoxMuller(words[2], words[3]);
  return {n0, n1, n2, n3};
}

}  // namespace talweg::core
