// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/runs/stream_seed.h"

#include <gtest/gtest.h>

#include <set>

namespace talweg {
namespace {

TEST(BatchStreamTest, EveryWorkerAndEveryLifeHasASeedOfItsOwn) {
  std::set<uint64_t> seeds;
  for (const uint64_t seed : {0, 1, 2}) {
    for (const char* worker : {"worker-0", "worker-1", "worker-10", ""}) {
      for (const uint64_t life : {0, 1, 2}) seeds.insert(StreamSeed(seed, worker, life));
    }
  }
  EXPECT_EQ(seeds.size(), 36u);
  EXPECT_EQ(StreamSeed(1, "worker-0", 2), StreamSeed(1, "worker-0", 2));
}

}  // namespace
}  // namespace talweg
