// SPDX-License-Identifier: Apache-2.0
#include "core/noise/stream.h"

#include <algorithm>
#include <vector>

#include "core/noise/noise_testing.h"
#include "core/noise/normal.h"
#include "core/noise/rademacher.h"

namespace talweg::core {
namespace {

constexpr uint64_t kSeed = 0x0123456789abcdef;
constexpr NoiseDomain kNumberDomains[] = {
    NoiseDomain::kDenseNormal, NoiseDomain::kInitialValues, NoiseDomain::kLowRankNormal,
    NoiseDomain::kDenseRademacher, NoiseDomain::kLowRankRademacher};

float PlainNumber(const NoiseStream& stream, uint64_t index) {
  const bool signs = SchemeOf(stream.domain) == NoiseScheme::kRademacher;
  const PhiloxWords words =
      Philox(CounterOf(stream.domain, index / (signs ? 128 : 4), stream.pair, stream.generation),
             KeyOfSeed(kSeed));
  if (!signs) return NormalsFromWords(words)[index % 4];
  return SignFromWord(words[index % 128 / 32], index % 32);
}

std::vector<float> PlainNumbers(const NoiseStream& stream, uint64_t first, size_t size) {
  std::vector<float> numbers(size);
  for (size_t i = 0; i < size; ++i) numbers[i] = PlainNumber(stream, first + i);
  return numbers;
}

TEST(StreamTest, EveryTargetGivesTheScalarNumbersFromAnyPlaceAndOfAnyLength) {
  const PhiloxRoundKeys keys(KeyOfSeed(kSeed));
  for (const NoiseDomain domain : kNumberDomains) {
    const NoiseStream stream = {domain, 7, 9};
    constexpr uint64_t kEnd = 5000;
    const std::vector<float> all = PlainNumbers(stream, 0, kEnd);
    ForEachTarget([&] {
      TestNumbers numbers(3);
      for (int cut = 0; cut < 400; ++cut) {
        const uint64_t first = cut < 200 ? numbers.Below(140) : numbers.Below(2500);
        const size_t size = cut % 2 == 0 ? numbers.Below(140) : numbers.Below(2500);
        // What stands around the span must not change.
        std::vector<float> got(size + 2, 99);
        DrawNumbers(keys, stream, first, 1, std::span(got).subspan(1, size));
        ExpectSameBits(std::span(all).subspan(first, size), std::span(got).subspan(1, size));
        EXPECT_EQ(99, got.front());
        EXPECT_EQ(99, got.back());
      }
    });
  }
}

TEST(StreamTest, BlocksBeyondThirtyTwoBitsAreTheScalarOnes) {
  const PhiloxRoundKeys keys(KeyOfSeed(kSeed));
  for (const NoiseDomain domain : kNumberDomains) {
    const uint64_t per_block = SchemeOf(domain) == NoiseScheme::kNormal ? 4 : 128;
    const NoiseStream stream = {domain, 0xffffffff, 0xfffffffe};
    for (const uint64_t block : {(uint64_t{1} << 32) - 5, (uint64_t{1} << 48) - 40}) {
      const uint64_t first = block * per_block + 3;
      const std::vector<float> expected = PlainNumbers(stream, first, 150);
      ForEachTarget([&] {
        std::vector<float> got(expected.size());
        DrawNumbers(keys, stream, first, 1, got);
        ExpectSameBits(expected, got);
      });
    }
  }
}

TEST(StreamTest, ScaledAndAddedNumbersAreRoundedAfterEveryOperation) {
  const PhiloxRoundKeys keys(KeyOfSeed(kSeed));
  for (const NoiseDomain domain : kNumberDomains) {
    const NoiseStream stream = {domain, 1, 2};
    const std::vector<float> plain = PlainNumbers(stream, 11, 5000);
    std::vector<float> from(plain.size());
    TestNumbers numbers(4);
    for (float& value : from) value = numbers.Weight();
    constexpr float kScale = 0.0123f;
    std::vector<float> scaled(plain.size()), plus(plain.size()), minus(plain.size());
    for (size_t i = 0; i < plain.size(); ++i) {
      scaled[i] = kScale * plain[i];
      plus[i] = from[i] + scaled[i];
      minus[i] = from[i] - scaled[i];
    }
    ForEachTarget([&] {
      std::vector<float> got(plain.size());
      DrawNumbers(keys, stream, 11, kScale, got);
      ExpectSameBits(scaled, got);
      AddNumbers(keys, stream, 11, kScale, false, from, got);
      ExpectSameBits(plus, got);
      got = from;  // in place
      AddNumbers(keys, stream, 11, kScale, true, got, got);
      ExpectSameBits(minus, got);
    });
  }
}

TEST(StreamTest, StreamsOfOneSeedDiffer) {
  const PhiloxRoundKeys keys(KeyOfSeed(kSeed));
  std::vector<std::vector<float>> seen;
  for (const NoiseDomain domain : kNumberDomains) {
    for (const uint32_t pair : {0u, 1u}) {
      for (const uint32_t generation : {0u, 1u}) {
        std::vector<float> numbers(128);
        DrawNumbers(keys, {domain, pair, generation}, 0, 1, numbers);
        EXPECT_EQ(std::find(seen.begin(), seen.end(), numbers), seen.end());
        seen.push_back(numbers);
      }
    }
  }
}

TEST(RademacherTest, BitZeroIsPlusAndBitOneIsMinus) {
  EXPECT_EQ(1.0f, SignFromWord(0xfffffffe, 0));
  EXPECT_EQ(-1.0f, SignFromWord(1, 0));
  EXPECT_EQ(-1.0f, SignFromWord(0x80000000, 31));
  EXPECT_EQ(1.0f, SignFromWord(0x7fffffff, 31));
}

}  // namespace
}  // namespace talweg::core
