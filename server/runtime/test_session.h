// SPDX-License-Identifier: Apache-2.0
//
// A small session at work, for the tests of its host.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/shard.h"
#include "gtest/gtest.h"
#include "server/runtime/session_host.h"
#include "server/runtime/test_support.h"

namespace talweg::server {

inline constexpr uint64_t kHistory = 77;
inline constexpr uint64_t kManyShards = 3 * core::kShard + 100;  // four, the last one short

using StepReply = Reply<absl::StatusOr<StepOutcome>>;
using JoinReply = Reply<absl::StatusOr<JoinOutcome>>;
using DescribeReply = Reply<absl::StatusOr<SessionDescription>>;
using ReadReply = Reply<absl::StatusOr<PointOutcome>>;
using StatusReply = Reply<absl::Status>;

inline std::vector<float> CopyOf(const core::Parameters& parameters) {
  return {parameters.values.span().begin(), parameters.values.span().end()};
}

// A session that starts at zero, with one worker, "w". Gradients live as long as it does.
class TestSession {
 public:
  TestSession(ComputePool& pool, uint64_t num_elements, core::SessionConfig config)
      : pool_(pool), initial_(num_elements, 0.0f) {
    host_ = std::make_shared<SessionHost>(
        SessionIdentity{"session", "request", 0, kHistory, absl::UnixEpoch()}, std::move(config),
        MemoryBudget::Reservation(), pool);
  }
  TestSession(ComputePool& pool, uint64_t num_elements)
      : TestSession(pool, num_elements, TestConfig(num_elements)) {}

  SessionHost& host() { return *host_; }
  std::shared_ptr<SessionHost> Share() { return host_; }
  void Drop() { host_.reset(); }

  StatusReply Create() {
    StatusReply created;
    pool_.Post([host = host_, done = created.Taker(), bytes = BytesOf(initial_)]() mutable {
      host->Create(core::EncodedVector{core::Dtype::kFloat32, bytes}, std::move(done));
    });
    return created;
  }

  JoinReply Join(uint64_t incarnation, const std::string& worker = "w", bool gradient = true) {
    JoinReply joined;
    host_->Join(
        worker, gradient, [incarnation] { return incarnation; }, joined.Taker());
    return joined;
  }
  StatusReply Leave(uint64_t incarnation, const std::string& worker = "w") {
    StatusReply left;
    host_->Leave({kHistory, worker, incarnation}, left.Taker());
    return left;
  }

  // Creates and joins as incarnation 1.
  TestSession& Start() {
    EXPECT_TRUE(Create().Get().ok());
    EXPECT_TRUE(Join(1).Get().ok());
    return *this;
  }

  // A step with every element of the gradient `value`.
  StepInput Input(uint64_t sequence, float value, const std::string& worker = "w",
                  uint64_t incarnation = 1) {
    gradients_.push_back(std::make_unique<std::vector<float>>(initial_.size(), value));
    core::Contribution contribution;
    contribution.history = kHistory;
    contribution.worker = worker;
    contribution.incarnation = incarnation;
    contribution.sequence = sequence;
    return {contribution, {}, {core::Dtype::kFloat32, BytesOf(*gradients_.back())}};
  }
  StepReply Step(StepInput input, uint64_t* ticket = nullptr) {
    StepReply stepped;
    const uint64_t issued = host_->Step(std::move(input), stepped.Taker());
    if (ticket != nullptr) *ticket = issued;
    return stepped;
  }
  StepReply Step(uint64_t sequence, float value, const std::string& worker = "w",
                 uint64_t incarnation = 1) {
    return Step(Input(sequence, value, worker, incarnation));
  }

  SessionDescription Describe(bool with_checksum = true) {
    DescribeReply described;
    host_->Describe(with_checksum, described.Taker());
    return *described.Get();
  }
  std::shared_ptr<const core::Parameters> Read() {
    ReadReply read;
    host_->Read(std::nullopt, read.Taker());
    return (*read.Get()).values;
  }
  DescribeReply SetRate(double learning_rate, uint64_t history = 0) {
    DescribeReply changed;
    host_->Reconfigure(
        history,
        [this, learning_rate](const core::SessionConfig&) -> absl::StatusOr<core::SessionConfig> {
          return TestConfig(initial_.size(), learning_rate);
        },
        changed.Taker());
    return changed;
  }

 private:
  ComputePool& pool_;
  const std::vector<float> initial_;
  std::shared_ptr<SessionHost> host_;
  std::vector<std::unique_ptr<std::vector<float>>> gradients_;
};

}  // namespace talweg::server
