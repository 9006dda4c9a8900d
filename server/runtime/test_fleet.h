// SPDX-License-Identifier: Apache-2.0
//
// For tests only: a small session of several workers, for the tests of its host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/rounds/aggregation_config.h"
#include "core/session/session_config.h"
#include "gtest/gtest.h"
#include "server/runtime/compute_pool.h"
#include "server/runtime/test_session.h"
#include "server/runtime/test_support.h"

namespace talweg::server {

inline core::SessionConfig ConfigOf(uint64_t num_elements,
                                    const core::AggregationConfig& aggregation) {
  core::SessionConfig config = TestConfig(num_elements);
  config.aggregation = core::ConfigOf(aggregation);
  EXPECT_TRUE(config.Resolve().ok());
  return config;
}

inline core::AggregationConfig Synchronous() {
  core::AggregationConfig aggregation;
  aggregation.mode = core::AggregationMode::kSynchronous;
  return aggregation;
}

// A session whose workers are "a", "b", ... with incarnations 1, 2, ...
class Fleet {
 public:
  Fleet(ComputePool& pool, size_t num_workers, const core::AggregationConfig& aggregation,
        uint64_t num_elements = kManyShards)
      : Fleet(pool, num_workers, ConfigOf(num_elements, aggregation)) {}
  Fleet(ComputePool& pool, size_t num_workers, const core::SessionConfig& config)
      : session_(pool, config.layout->num_elements(), config) {
    EXPECT_TRUE(session_.Create().Get().ok());
    for (size_t index = 0; index < num_workers; ++index) {
      EXPECT_TRUE(session_.Join(index + 1, Name(index)).Get().ok());
    }
  }

  static std::string Name(size_t index) { return std::string(1, static_cast<char>('a' + index)); }
  // The next contribution of a worker, on the visible version.
  StepInput Input(size_t index, uint64_t sequence, float value) {
    StepInput input = session_.Input(sequence, value, Name(index), index + 1);
    input.contribution.base_version = session_.Read()->version;
    return input;
  }
  StepReply Step(size_t index, uint64_t sequence, float value) {
    return session_.Step(Input(index, sequence, value));
  }
  // After this, every call that was made before has ended, except those that wait.
  void Settle() { session_.Describe(false); }

  TestSession* operator->() { return &session_; }
  TestSession& operator*() { return session_; }

 private:
  TestSession session_;
};

}  // namespace talweg::server
