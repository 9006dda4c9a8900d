// SPDX-License-Identifier: Apache-2.0
//
// For tests only: a small session at work, for the tests of its host.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/shard.h"
#include "core/optimizers/optimizer.h"
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

// A session that starts at zero, with one worker, "w". Gradients live as long as this object.
class TestSession {
 public:
  TestSession(ComputePool& pool, uint64_t num_elements, core::SessionConfig config)
      : pool_(pool), initial_(num_elements, 0.0f) {
    host_ = std::make_shared<SessionHost>(
        SessionIdentity{"session", "request", 0, kHistory, absl::UnixEpoch()}, std::move(config),
        MemoryBudget::Reservation(), EnvOf(pool));
  }
  TestSession(ComputePool& pool, uint64_t num_elements)
      : TestSession(pool, num_elements, TestConfig(num_elements)) {}

  SessionHost& host() { return *host_; }
  std::shared_ptr<SessionHost> Share() { return host_; }
  void Drop() { host_.reset(); }

  StatusReply Create() {
    StatusReply created;
    pool_.Post([host = host_, done = created.Callback(), bytes = BytesOf(initial_)]() mutable {
      host->Create(core::EncodedVector{core::Dtype::kFloat32, bytes}, std::move(done));
    });
    return created;
  }

  JoinReply Join(uint64_t incarnation, const std::string& worker = "w",
                 core::Roles roles = {core::Role::kGradient}) {
    JoinReply joined;
    host_->Join(
        {worker, 0, roles}, [incarnation] { return incarnation; }, joined.Callback());
    return joined;
  }
  StatusReply Leave(uint64_t incarnation, const std::string& worker = "w") {
    StatusReply left;
    host_->Leave({kHistory, worker, incarnation}, left.Callback());
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
    const uint64_t issued = host_->Step(std::move(input), stepped.Callback());
    if (ticket != nullptr) *ticket = issued;
    return stepped;
  }
  StepReply Step(uint64_t sequence, float value, const std::string& worker = "w",
                 uint64_t incarnation = 1) {
    return Step(Input(sequence, value, worker, incarnation));
  }

  SessionDescription Describe(bool with_checksum = true) {
    DescribeReply described;
    host_->Describe({.checksum = with_checksum}, described.Callback());
    return *described.Get();
  }
  std::shared_ptr<const core::Parameters> Read() {
    ReadReply read;
    host_->Read(core::Session::Point::kParameters, read.Callback());
    return (*read.Get()).values;
  }
  DescribeReply SetRate(double learning_rate, uint64_t history = 0) {
    DescribeReply changed;
    host_->Reconfigure(
        history,
        [this, learning_rate](const core::SessionConfig&) -> absl::StatusOr<core::SessionConfig> {
          return TestConfig(initial_.size(), learning_rate);
        },
        changed.Callback());
    return changed;
  }

 private:
  ComputePool& pool_;
  const std::vector<float> initial_;
  std::shared_ptr<SessionHost> host_;
  std::vector<std::unique_ptr<std::vector<float>>> gradients_;
};

// A method whose gradient is taken at another point, and whose passes have nothing to do.
class LookingAhead final : public core::Optimizer {
 public:
  void Configure(const core::Config&) override {}
  void BeginStep(uint64_t) override {}
  void Apply(const core::StepRates& rates, core::Shard shard, absl::Span<const float> gradient,
             absl::Span<const float> from, absl::Span<float> to) override {
    for (size_t i = shard.begin; i < shard.end; ++i) {
      to[i] = from[i] - static_cast<float>(rates.learning_rate) * gradient[i - shard.begin];
    }
  }
  size_t NumPasses() const override { return 2; }
  bool HasLookahead() const override { return true; }
  void Lookahead(const core::StepRates& coming, core::Shard shard, absl::Span<const float> from,
                 absl::Span<float> to) const override {
    for (size_t i = shard.begin; i < shard.end; ++i) {
      to[i] = from[i] - 100 * static_cast<float>(coming.learning_rate);
    }
  }
  void VisitState(core::StateVisitor&) override {}
};

inline core::SessionConfig LookingAheadConfig(uint64_t num_elements) {
  static core::Method method = *core::FindMethod("gradient_descent");
  method.create = [](const core::Config&, const core::ParameterSpace&) {
    return std::unique_ptr<core::Optimizer>(std::make_unique<LookingAhead>());
  };
  core::SessionConfig config = TestConfig(num_elements);
  config.method = &method;
  return config;
}

}  // namespace talweg::server
