// SPDX-License-Identifier: Apache-2.0
#include "core/noise/philox.h"

#include <bit>
#include <cmath>
#include <set>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

// Random123, tests/kat_vectors, the three rows "philox4x32 10".
TEST(PhiloxTest, GivesRandom123sKnownAnswers) {
  EXPECT_EQ(Philox({0, 0, 0, 0}, {0, 0}),
            (PhiloxWords{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (PhiloxWords{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxWords{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PhiloxTest, RoundKeysAreTheKeysOfTheRounds) {
  constexpr PhiloxRoundKeys kKeys({0xffffffff, 1});
  uint32_t k0 = 0xffffffff, k1 = 1;
  for (size_t round = 0; round < 10; ++round, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
    EXPECT_EQ(k0, kKeys.k0[round]);
    EXPECT_EQ(k1, kKeys.k1[round]);
  }
}

TEST(PhiloxTest, EveryBitOfCounterAndKeyChangesAboutHalfOfTheOutput) {
  const PhiloxWords counter = {1, 2, 3, 4};
  const PhiloxKey key = {5, 6};
  const PhiloxWords plain = Philox(counter, key);
  for (int bit = 0; bit < 192; ++bit) {
    PhiloxWords other_counter = counter;
    PhiloxKey other_key = key;
    uint32_t& word = bit < 128 ? other_counter[bit / 32] : other_key[bit / 32 - 4];
    word ^= uint32_t{1} << bit % 32;
    const PhiloxWords other = Philox(other_counter, other_key);
    int changed = 0;
    for (int i = 0; i < 4; ++i) changed += std::popcount(plain[i] ^ other[i]);
    // 128 fair coins: 64 expected, standard deviation 5.7. Six of them are allowed.
    EXPECT_NEAR(changed, 64, 34) << "bit " << bit;
  }
}

TEST(PhiloxTest, EveryOutputBitIsFair) {
  constexpr int kBlocks = 100000;
  int ones[128] = {};
  for (uint32_t block = 0; block < kBlocks; ++block) {
    const PhiloxWords words =
        Philox(CounterOf(NoiseDomain::kInitialValues, block), KeyOfSeed(2024));
    for (int bit = 0; bit < 128; ++bit) ones[bit] += words[bit / 32] >> bit % 32 & 1;
  }
  for (int bit = 0; bit < 128; ++bit) {
    EXPECT_NEAR(ones[bit], kBlocks / 2.0, 5 * std::sqrt(kBlocks) / 2) << "bit " << bit;
  }
}

TEST(PhiloxTest, SeedAndBlockReachTheirWordsWhole) {
  EXPECT_EQ(KeyOfSeed(0x1122334455667788), (PhiloxKey{0x55667788, 0x11223344}));
  EXPECT_EQ(CounterOf(NoiseDomain::kInitialValues, 0xabcd12345678, 7, 9),
            (PhiloxWords{0x12345678, 0x0001abcd, 7, 9}));
}

// The numbers are part of the definition: other languages write them out.
TEST(PhiloxTest, DomainsHaveTheirNumbersAndNeverShareACounter) {
  constexpr NoiseDomain kDomains[] = {
      NoiseDomain::kDenseNormal,     NoiseDomain::kInitialValues,     NoiseDomain::kLowRankNormal,
      NoiseDomain::kDenseRademacher, NoiseDomain::kLowRankRademacher, NoiseDomain::kDataSeed};
  for (const uint64_t block : {uint64_t{0}, uint64_t{1} << 32, (uint64_t{1} << 48) - 1}) {
    for (uint32_t number = 0; number < 6; ++number) {
      EXPECT_EQ(number, CounterOf(kDomains[number], block)[1] >> 16);
    }
  }
}

TEST(PhiloxTest, BlocksOfOneSeedDiffer) {
  std::set<PhiloxWords> seen;
  for (uint64_t block = 0; block < 10000; ++block) {
    seen.insert(Philox(CounterOf(NoiseDomain::kInitialValues, block), KeyOfSeed(1)));
  }
  EXPECT_EQ(seen.size(), 10000u);
}

}  // namespace
}  // namespace talweg::core
