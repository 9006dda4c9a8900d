// SPDX-License-Identifier: Apache-2.0
#include "core/base/aligned_buffer.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <new>
#include <utility>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

TEST(AlignedBufferTest, IsAlignedZeroedAndWritableToItsEnd) {
  // Around the alignment, around the size from which huge pages are asked for, and well above.
  for (const size_t size : {size_t{1}, size_t{15}, size_t{16}, size_t{17}, size_t{4096},
                            size_t{1} << 19, (size_t{1} << 19) + 1, (size_t{1} << 20) + 12345}) {
    AlignedBuffer buffer(size);
    ASSERT_EQ(buffer.size(), size);
    ASSERT_EQ(buffer.span().size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % AlignedBuffer::kAlignment, 0u) << size;
    EXPECT_TRUE(std::all_of(buffer.span().begin(), buffer.span().end(), [](float x) {
      return x == 0;
    })) << size;
    std::fill(buffer.span().begin(), buffer.span().end(), 1.5f);
    EXPECT_EQ(buffer.span().back(), 1.5f);
  }
}

TEST(AlignedBufferTest, MemoryThatWasUsedBeforeIsZeroedToo) {
  for (int round = 0; round < 20; ++round) {
    AlignedBuffer buffer(1000);
    for (float& value : buffer.span()) {
      ASSERT_EQ(value, 0.0f);
      value = 3;
    }
  }
}

TEST(AlignedBufferTest, OfNothingIsEmpty) {
  EXPECT_EQ(AlignedBuffer().size(), 0u);
  EXPECT_TRUE(AlignedBuffer().span().empty());
  EXPECT_EQ(AlignedBuffer(0).data(), nullptr);
}

TEST(AlignedBufferTest, MovesItsMemory) {
  AlignedBuffer first(10);
  first.span()[3] = 4;
  const float* data = first.data();
  AlignedBuffer second(std::move(first));
  EXPECT_EQ(second.data(), data);
  AlignedBuffer third(5);
  third = std::move(second);
  EXPECT_EQ(third.data(), data);
  EXPECT_EQ(third.size(), 10u);
  EXPECT_EQ(std::as_const(third).span()[3], 4.0f);
}

TEST(AlignedBufferTest, ASizeThatNoMemoryHoldsThrows) {
  EXPECT_THROW(AlignedBuffer(std::numeric_limits<size_t>::max()), std::bad_alloc);
  EXPECT_THROW(AlignedBuffer(std::numeric_limits<size_t>::max() / sizeof(float)), std::bad_alloc);
}

TEST(AlignedVectorTest, HoldsDoublesAsItHoldsFloats) {
  for (const size_t size : {size_t{1}, size_t{9}, size_t{1000}, (size_t{1} << 18) + 1}) {
    AlignedVector<double> vector(size);
    ASSERT_EQ(vector.span().size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(vector.data()) % vector.kAlignment, 0u);
    for (double& value : vector.span()) {
      ASSERT_EQ(value, 0.0);
      value = 0.1;
    }
  }
  EXPECT_THROW(AlignedVector<double>(std::numeric_limits<size_t>::max() / sizeof(double)),
               std::bad_alloc);
}

}  // namespace
}  // namespace talweg::core
