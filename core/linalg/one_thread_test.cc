// SPDX-License-Identifier: Apache-2.0
#include "core/linalg/one_thread.h"

#include <cblas.h>

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

// One test, because what it sets holds for the whole process and is set only once.
TEST(OneThreadTest, HoldsForTheProcessHoweverManyAskForIt) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(UseOneThread);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(openblas_get_num_threads(), 1);
  UseOneThread();
  EXPECT_EQ(openblas_get_num_threads(), 1);
}

}  // namespace
}  // namespace talweg::core
