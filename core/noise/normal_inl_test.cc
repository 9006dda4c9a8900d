// SPDX-License-Identifier: Apache-2.0
//
// The vector code of Philox and of the normals against the scalar code, on every target and on
// words and counters that no stream would meet in a lifetime.
#include <bit>
#include <vector>

#include "core/noise/noise_testing.h"
#include "core/noise/normal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/noise/normal_inl_test.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/noise/normal-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

// to[2 i] and to[2 i + 1] are the normals of words a[i] and b[i]; `size` is a multiple of 16.
void NormalsOfWordsKernel(const uint32_t* a, const uint32_t* b, size_t size, float* to) {
  const NumberTag d;
  const hn::RebindToUnsigned<NumberTag> du;
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    hn::Vec<NumberTag> n0, n1;
    BoxMullers(d, hn::LoadU(du, a + i), hn::LoadU(du, b + i), n0, n1);
    hn::StoreInterleaved2(n0, n1, d, to + 2 * i);
  }
}

// The words of 16 blocks.
void PhiloxKernel(const PhiloxRoundKeys& keys, NoiseDomain domain, uint64_t block, uint32_t x,
                  uint32_t y, uint32_t* words) {
  const hn::RebindToUnsigned<NumberTag> du;
  for (size_t i = 0; i < 16; i += hn::Lanes(du)) {
    hn::Vec<decltype(du)> w0, w1, w2, w3;
    PhiloxOfBlocks(du, keys, domain, block + i, x, y, w0, w1, w2, w3);
    hn::StoreInterleaved4(w0, w1, w2, w3, du, words + 4 * i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {
namespace {

HWY_EXPORT(NormalsOfWordsKernel);
HWY_EXPORT(PhiloxKernel);

void ExpectScalarNormals(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  std::vector<float> expected, got(2 * a.size());
  for (size_t i = 0; i < a.size(); ++i) {
    const std::array<float, 4> normals = NormalsFromWords({a[i], b[i], 0, 0});
    expected.insert(expected.end(), {normals[0], normals[1]});
  }
  ForEachTarget([&] {
    HWY_DYNAMIC_DISPATCH(NormalsOfWordsKernel)(a.data(), b.data(), a.size(), got.data());
    ExpectSameBits(expected, got);
  });
}

TEST(NormalVectorsTest, EveryTargetGivesTheScalarBitsOnRandomWords) {
  TestNumbers numbers(1);
  std::vector<uint32_t> a(1 << 18), b(1 << 18);
  for (uint32_t& word : a) word = numbers.Word();
  for (uint32_t& word : b) word = numbers.Word();
  ExpectScalarNormals(a, b);
}

TEST(NormalVectorsTest, EveryTargetGivesTheScalarBitsAtEveryCorner) {
  // Around each power of two and its negative, each eighth of a turn, the words that round to 2^31
  // and those of a mantissa around sqrt(1/2).
  std::vector<uint32_t> corners = {0xFFFFFFC0, 0xFFFFFF7E, 0x16A09E66, 0x5A827998,
                                   0x5A827999, 0xB504F332, 0xB504F333, 0xB504F334};
  for (uint32_t offset = 0; offset < 9; ++offset) {
    for (uint32_t bit = 0; bit < 32; ++bit) {
      corners.push_back((uint32_t{1} << bit) + offset - 4);
      corners.push_back(0u - (uint32_t{1} << bit) + offset - 4);
    }
    for (uint32_t eighth = 0; eighth < 8; ++eighth) corners.push_back((eighth << 29) + offset - 4);
  }
  std::vector<uint32_t> a, b;
  for (const uint32_t corner_a : corners) {
    for (const uint32_t corner_b : corners) {
      a.push_back(corner_a);
      b.push_back(corner_b);
    }
  }
  while (a.size() % 16 != 0) {
    a.push_back(0);
    b.push_back(0);
  }
  ExpectScalarNormals(a, b);
}

TEST(PhiloxVectorsTest, EveryTargetGivesTheScalarWords) {
  TestNumbers numbers(2);
  // The low half of the block number overflows within a vector, or its high half is large.
  std::vector<uint64_t> blocks = {
      0, 1, 0xFFFFFFF5, 0xFFFFFFFF, 0xABCDFFFFFFF8, (uint64_t{1} << 48) - 16};
  for (int i = 0; i < 50; ++i) blocks.push_back(numbers.Below((uint64_t{1} << 48) - 16));
  for (const uint64_t block : blocks) {
    const PhiloxKey key = {numbers.Word(), numbers.Word()};
    const auto domain = static_cast<NoiseDomain>(numbers.Below(6));
    const uint32_t x = numbers.Word(), y = numbers.Word();
    ForEachTarget([&] {
      uint32_t words[64];
      HWY_DYNAMIC_DISPATCH(PhiloxKernel)(PhiloxRoundKeys(key), domain, block, x, y, words);
      for (uint64_t i = 0; i < 16; ++i) {
        const PhiloxWords expected = Philox(CounterOf(domain, block + i, x, y), key);
        for (size_t word = 0; word < 4; ++word) {
          EXPECT_EQ(expected[word], words[4 * i + word]) << "block " << block << " + " << i;
        }
      }
    });
  }
}

}  // namespace
}  // namespace talweg::core
#endif  // HWY_ONCE
