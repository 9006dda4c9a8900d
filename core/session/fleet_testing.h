// SPDX-License-Identifier: Apache-2.0
//
// For tests only: a session that several workers contribute to, in rounds. Tests that use it live
// in this namespace.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/optimizers/optimizer_testing.h"
#include "core/session/pseudo_testing.h"
#include "core/session/session.h"
#include "core/session/session_testing.h"
#include "core/session/staged_gradient.h"
#include "gtest/gtest.h"

namespace talweg::core::round_fleet {

inline constexpr uint64_t kHistory = 7;
inline const absl::Time kNow = absl::UnixEpoch() + absl::Hours(1);
inline constexpr uint64_t kElements = kShard + 3 * kBlock + 11;  // two shards and a ragged end

inline SessionConfig ConfigFor(const AggregationConfig& aggregation,
                               const char* method = "momentum", uint64_t num_elements = kElements) {
  EXPECT_TRUE(aggregation.Validate().ok()) << aggregation.Validate();
  const DecayKind& kind = *FindDecayKind("constant");
  SessionConfig config{
      SpaceOf(num_elements).layout, FindMethod(method), FindMethod(method)->default_config(),
      Schedule(ConfigOf<RateConfig>({.learning_rate = 1}), kind, kind.default_config()),
      ConfigOf<AggregationConfig>(aggregation)};
  EXPECT_TRUE(config.Resolve().ok());
  return config;
}

inline AggregationConfig Synchronous() {
  AggregationConfig aggregation;
  aggregation.mode = AggregationMode::kSynchronous;
  return aggregation;
}

// A deterministic float of a magnitude between 2^-35 and 2^35.
inline float Pseudo(uint64_t seed, uint64_t index) {
  const uint64_t bits = PseudoBits(seed, index);
  return std::ldexp(PseudoMantissa(bits), static_cast<int>(bits % 70) - 58);
}

inline std::vector<float> GradientOf(uint64_t seed, uint64_t size = kElements) {
  std::vector<float> values(size);
  for (uint64_t index = 0; index < size; ++index) values[index] = Pseudo(seed, index);
  return values;
}

inline std::shared_ptr<StagedGradient> Staged(const Session& session,
                                              const std::vector<float>& values) {
  auto staged = std::make_shared<StagedGradient>(values.size());
  staged->Begin(session.config().group_map);
  staged->Stage({0, values.size()}, Dtype::kFloat32, reinterpret_cast<const char*>(values.data()));
  return staged;
}

// A session of workers "w0", "w1", … that keep their sequences.
class Fleet {
 public:
  Fleet(const SessionConfig& config, size_t num_workers) {
    session_ = std::make_unique<Session>(
        config, kHistory, std::make_shared<Parameters>(config.layout->num_elements()));
    for (size_t worker = 0; worker < num_workers; ++worker) Join(worker);
  }

  void Join(size_t worker) {
    incarnations_[worker] = ++last_incarnation_;
    sequences_[worker] = 0;
    EXPECT_TRUE(
        session_->Handle(core::Join{Name(worker), last_incarnation_}, kNow).effects.status.ok());
  }

  // Folds the contributions of the round after every `batch` of them.
  void FoldEvery(size_t batch) { batch_ = batch; }

  // Calls that were answered, by ticket.
  const std::map<uint64_t, Answer>& answers() const { return answers_; }

  // Returns the ticket.
  uint64_t Contribute(size_t worker, const std::vector<float>& gradient, float weight = 1,
                      uint64_t staleness = 0) {
    const auto staged = Staged(*session_, gradient);
    Contribution contribution;
    contribution.history = session_->machine().history();
    contribution.worker = Name(worker);
    contribution.incarnation = incarnations_[worker];
    contribution.sequence = ++sequences_[worker];
    contribution.base_version = session_->machine().version() - staleness;
    contribution.weight = weight;
    contribution.ticket = ++last_ticket_;
    EXPECT_TRUE(PrepareFor(*session_).ok());
    ContributionInput input{contribution};
    input.gradient = staged;
    input.returns_gradient = batch_ == 1;
    Outcome outcome = session_->Contribute(input, kNow);
    EXPECT_TRUE(outcome.effects.status.ok()) << outcome.effects.status;
    if (outcome.effects.answer.has_value()) answers_[last_ticket_] = *outcome.effects.answer;
    Note(outcome.effects);
    if (outcome.work != nullptr) {
      Run(std::move(outcome.work));
    } else if (session_->num_unfolded() >= batch_) {
      Run(session_->BeginFold());
    }
    return last_ticket_;
  }

  Session& session() { return *session_; }
  void Replace(std::unique_ptr<Session> session) { session_ = std::move(session); }
  std::vector<float> values() const {
    const absl::Span<const float> values = session_->parameters()->values.span();
    return {values.begin(), values.end()};
  }
  const std::vector<std::shared_ptr<const VersionRecord>>& records() const { return records_; }

  static std::string Name(size_t worker) { return "w" + std::to_string(worker); }

 private:
  // Runs the work, the pieces of each stage backwards.
  void Run(std::unique_ptr<Work> work) {
    for (size_t stage = 0; stage < work->NumStages(); ++stage) {
      work->BeginStage(stage);
      for (size_t piece = work->NumPieces(stage); piece > 0; --piece) {
        work->RunPiece(stage, piece - 1);
      }
      work->EndStage(stage);
    }
    Note(session_->End(*work, kNow).effects);
  }

  void Note(const Effects& effects) {
    for (const Released& released : effects.released) {
      EXPECT_TRUE(released.status.ok()) << released.status;
      answers_[released.ticket] = released.answer;
    }
    if (effects.made != nullptr) records_.push_back(effects.made);
  }

  std::unique_ptr<Session> session_;
  size_t batch_ = 1;
  uint64_t last_incarnation_ = 0;
  uint64_t last_ticket_ = 0;
  std::map<size_t, uint64_t> incarnations_, sequences_;
  std::map<uint64_t, Answer> answers_;
  std::vector<std::shared_ptr<const VersionRecord>> records_;
};

}  // namespace talweg::core::round_fleet
