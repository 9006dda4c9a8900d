// SPDX-License-Identifier: Apache-2.0
#include "core/base/float_environment.h"

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include <limits>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

float HalfOfTheSmallestNormal() {
  const volatile float smallest = std::numeric_limits<float>::min();
  const volatile float half = smallest / 2;
  return half;
}

TEST(DefaultFloatEnvironmentTest, KeepsDenormalsAndRoundsToNearestAndGivesTheOldOneBack) {
  const DefaultFloatEnvironment outer;  // the test leaves the thread as it was
  std::fesetround(FE_UPWARD);
#ifdef __SSE__
  _mm_setcsr(_mm_getcsr() | 0x8040);  // flush to zero, denormals are zero
  EXPECT_EQ(HalfOfTheSmallestNormal(), 0);
#endif
  {
    const DefaultFloatEnvironment inner;
    EXPECT_EQ(std::fegetround(), FE_TONEAREST);
    EXPECT_EQ(HalfOfTheSmallestNormal() * 2, std::numeric_limits<float>::min());
  }
  EXPECT_EQ(std::fegetround(), FE_UPWARD);
#ifdef __SSE__
  EXPECT_EQ(_mm_getcsr() & 0x8040, 0x8040u);
#endif
}

}  // namespace
}  // namespace talweg::core
