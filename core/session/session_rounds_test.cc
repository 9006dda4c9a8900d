// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "core/kernels/negate.h"
#include "core/optimizers/adam.h"
#include "core/optimizers/optimizer_testing.h"
#include "core/session/session.h"
#include "core/session/session_testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr uint64_t kHistory = 7;
const absl::Time kNow = absl::UnixEpoch() + absl::Hours(1);
constexpr uint64_t kElements = kShard + 3 * kBlock + 11;  // two shards and a ragged end

SessionConfig ConfigFor(const AggregationConfig& aggregation, const char* method = "momentum",
                        uint64_t num_elements = kElements) {
  EXPECT_TRUE(aggregation.Validate().ok()) << aggregation.Validate();
  const DecayKind& kind = *FindDecayKind("constant");
  SessionConfig config{
      SpaceOf(num_elements).layout, FindMethod(method), FindMethod(method)->default_config(),
      Schedule(ConfigOf<RateConfig>({.learning_rate = 1}), kind, kind.default_config()),
      ConfigOf<AggregationConfig>(aggregation)};
  EXPECT_TRUE(config.Resolve().ok());
  return config;
}

AggregationConfig Synchronous() {
  AggregationConfig aggregation;
  aggregation.mode = AggregationMode::kSynchronous;
  return aggregation;
}

// A deterministic float of a magnitude between 2^-35 and 2^35.
float Pseudo(uint64_t seed, uint64_t index) {
  uint64_t x = seed * 0x9e3779b97f4a7c15 + index * 0xbf58476d1ce4e5b9 + 1;
  x ^= x >> 29;
  x *= 0x94d049bb133111eb;
  x ^= x >> 32;
  const float mantissa = static_cast<float>(static_cast<int64_t>(x) >> 40);
  return std::ldexp(mantissa, static_cast<int>(x % 70) - 58);
}

std::vector<float> GradientOf(uint64_t seed, uint64_t size = kElements) {
  std::vector<float> values(size);
  for (uint64_t index = 0; index < size; ++index) values[index] = Pseudo(seed, index);
  return values;
}

std::shared_ptr<StagedGradient> Staged(const Session& session, const std::vector<float>& values) {
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

  // Folds what was taken after every `batch` contributions.
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

TEST(SessionRoundsTest, EveryOrderOfArrivalGivesTheSameBits) {
  const float weights[] = {3, 1.0f / 2, 1.0f / 3, 1, 7};
  std::vector<size_t> order(5);
  std::iota(order.begin(), order.end(), 0);
  std::vector<float> expected;
  do {
    Fleet fleet(ConfigFor(Synchronous(), "momentum", 500), 5);
    fleet.FoldEvery(1 + order[0]);  // every grouping as well
    for (int round = 0; round < 2; ++round) {
      for (const size_t worker : order) {
        std::vector<float> gradient = GradientOf(10 * round + worker, 500);
        if (worker > 2) {  // cancels most of worker 0, and brings zeros
          for (size_t i = 0; i < 500; i += 2)
            gradient[i] = worker == 3 ? 0 : -3.0f * Pseudo(round * 10, i) / 7;
        }
        fleet.Contribute(worker, gradient, weights[worker]);
      }
    }
    ASSERT_EQ(fleet.session().machine().version(), 2u);
    if (expected.empty()) expected = fleet.values();
    ASSERT_EQ(std::memcmp(expected.data(), fleet.values().data(), 500 * sizeof(float)), 0);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(SessionRoundsTest, RoundStepsWithTheWeightedMean) {
  SessionConfig config = ConfigFor(Synchronous(), "gradient_descent");
  Fleet fleet(config, 3);
  std::vector<std::vector<float>> gradients;
  for (size_t worker = 0; worker < 3; ++worker) {
    gradients.push_back(GradientOf(worker));
    fleet.Contribute(worker, gradients.back(), static_cast<float>(worker + 1));
  }
  const std::vector<float> values = fleet.values();
  for (size_t i = 0; i < kElements; ++i) {
    // Three products of 27 bits, 2^70 apart at most, in 113 bits.
    const __float128 sum = static_cast<__float128>(gradients[0][i]) +
                           static_cast<__float128>(gradients[1][i]) * 2 +
                           static_cast<__float128>(gradients[2][i]) * 3;
    const auto mean = static_cast<float>(static_cast<double>(sum) / 6);
    ASSERT_EQ(values[i], -mean) << i;
  }
  EXPECT_EQ(fleet.answers().size(), 3u);
  for (const auto& [ticket, answer] : fleet.answers()) {
    EXPECT_EQ(answer.verdict, Verdict::kApplied);
    EXPECT_EQ(answer.applied_version, 1u);
    EXPECT_EQ(answer.report->contributors, 3u);
    EXPECT_EQ(answer.report->total_weight, 6);
  }
  ASSERT_EQ(fleet.records().size(), 1u);
  EXPECT_EQ(fleet.records()[0]->members.size(), 3u);
}

TEST(SessionRoundsTest, RoundOfOneTakesTheGradientAsItIs) {
  Fleet fleet(ConfigFor(Synchronous(), "gradient_descent", 3), 1);
  fleet.Contribute(0, {-0.0f, 1e-44f, 3e38f}, 1.0f / 3);
  const std::vector<float> values = fleet.values();
  EXPECT_EQ(values[1], -1e-44f);
  EXPECT_EQ(values[2], -3e38f);
}

TEST(SessionRoundsTest, ByWorkerSumsInTheOrderOfNames) {
  AggregationConfig aggregation = Synchronous();
  aggregation.reduce_order = ReduceOrder::kByWorker;
  aggregation.max_workers = 4;
  for (const std::vector<size_t>& order : {std::vector<size_t>{2, 0, 3, 1}, {0, 1, 2, 3}}) {
    for (const size_t batch : {1, 3, 9}) {
      Fleet fleet(ConfigFor(aggregation, "gradient_descent"), 4);
      fleet.FoldEvery(batch);
      for (int round = 0; round < 2; ++round) {
        for (const size_t worker : order) {
          fleet.Contribute(worker, GradientOf(worker), static_cast<float>(worker + 1));
        }
      }
      const std::vector<float> values = fleet.values();
      for (size_t i = 0; i < kElements; ++i) {
        double sum = 0;
        for (size_t worker = 0; worker < 4; ++worker) {
          sum += static_cast<double>(worker + 1) * static_cast<double>(Pseudo(worker, i));
        }
        const auto mean = static_cast<float>(sum / 10);
        ASSERT_EQ(values[i], -mean - mean) << i;
      }
    }
  }
}

TEST(SessionRoundsTest, MedianAndTrimmedMeanAreNotCarriedAway) {
  for (const Reduction reduction : {Reduction::kMedian, Reduction::kTrimmedMean}) {
    AggregationConfig aggregation = Synchronous();
    aggregation.reduction = reduction;
    aggregation.max_workers = 5;
    if (reduction == Reduction::kTrimmedMean) aggregation.trim_fraction = 0.2;
    Fleet fleet(ConfigFor(aggregation, "gradient_descent", 2), 5);
    const float strange = 1e30f;
    const std::vector<std::vector<float>> gradients = {
        {1, 10}, {strange, 20}, {2, 30}, {3, -strange}, {6, 60}};
    for (size_t worker = 0; worker < 5; ++worker) fleet.Contribute(worker, gradients[worker]);
    const std::vector<float> expected = reduction == Reduction::kMedian
                                            ? std::vector<float>{-3, -20}
                                            : std::vector<float>{-11.0f / 3, -20};
    EXPECT_EQ(fleet.values(), expected);
  }
}

TEST(SessionRoundsTest, StalenessScalesTheWeight) {
  AggregationConfig aggregation = Synchronous();
  aggregation.max_staleness = 3;
  aggregation.stale_scale = StaleScale::kInverse;
  Fleet fleet(ConfigFor(aggregation, "gradient_descent", 1), 2);
  fleet.Contribute(0, {0});
  fleet.Contribute(1, {0});
  fleet.Contribute(0, {8}, 3);
  fleet.Contribute(1, {2}, 3, /*staleness=*/1);  // counts by 1.5
  EXPECT_EQ(fleet.values(), std::vector<float>{-6});
  EXPECT_EQ(fleet.records()[1]->total_weight, 4.5);
  EXPECT_EQ(fleet.records()[1]->members[1].weight, 1.5f);
}

TEST(SessionRoundsTest, ConfigurationWaitsForTheOpenRound) {
  const SessionConfig config = ConfigFor(Synchronous(), "gradient_descent", 1);
  Fleet fleet(config, 2);
  fleet.Contribute(0, {1});
  SessionConfig faster = config;
  const DecayKind& kind = *FindDecayKind("constant");
  faster.schedule =
      Schedule(ConfigOf<RateConfig>({.learning_rate = 10}), kind, kind.default_config());
  ASSERT_TRUE(fleet.session().Reconfigure(0, faster, kNow).effects.status.ok());
  EXPECT_EQ(fleet.session().config_version(), 2u);
  EXPECT_TRUE(SameConfig(fleet.session().newest_config(), faster));
  EXPECT_TRUE(SameConfig(fleet.session().config(), config));
  fleet.Contribute(1, {3});
  EXPECT_EQ(fleet.values(), std::vector<float>{-2});
  EXPECT_EQ(fleet.records()[0]->config_version, 1u);
  fleet.Contribute(0, {1});
  fleet.Contribute(1, {3});
  EXPECT_EQ(fleet.values(), std::vector<float>{-22});
  EXPECT_EQ(fleet.records()[1]->config_version, 2u);
}

TEST(SessionRoundsTest, SavedStateHasNoOpenRound) {
  AggregationConfig aggregation = Synchronous();
  for (const bool staged : {false, true}) {
    aggregation.reduce_order = staged ? ReduceOrder::kByWorker : ReduceOrder::kAny;
    aggregation.max_workers = 3;
    Fleet uninterrupted(ConfigFor(aggregation), 3);
    Fleet stopped(ConfigFor(aggregation), 3);
    for (Fleet* fleet : {&uninterrupted, &stopped}) {
      for (size_t worker = 0; worker < 3; ++worker) fleet->Contribute(worker, GradientOf(worker));
      fleet->Contribute(0, GradientOf(10));
    }
    const std::string bytes = stopped.session().Save();
    auto loaded = Session::Load(bytes, kNow);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ((*loaded)->Save(), bytes);
    EXPECT_EQ((*loaded)->machine().num_folded(), 0u);
    EXPECT_EQ((*loaded)->machine().history(), kHistory);
    stopped.Replace(*std::move(loaded));
    stopped.Contribute(0, GradientOf(10));  // again: it was pending
    for (Fleet* fleet : {&uninterrupted, &stopped}) {
      fleet->Contribute(1, GradientOf(11));
      fleet->Contribute(2, GradientOf(12));
      EXPECT_EQ(fleet->session().machine().version(), 2u);
    }
    EXPECT_EQ(uninterrupted.values(), stopped.values());
  }
}

TEST(SessionRoundsTest, LostStepsBeginANewHistory) {
  Fleet fleet(ConfigFor(Synchronous(), "momentum", 5), 1);
  fleet.Contribute(0, GradientOf(1, 5));
  const std::string bytes = fleet.session().Save();
  auto loaded = Session::Load(bytes, kNow, /*history=*/99);
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ((*loaded)->machine().history(), 99u);
  EXPECT_EQ((*loaded)->machine().version(), 1u);
  ContributionInput old{Contribution{kHistory, "w0", 1, 2, 1}};
  old.contribution.ticket = 1;
  old.gradient = Staged(**loaded, GradientOf(1, 5));
  EXPECT_EQ(ReasonName(ContributeAndRun(**loaded, std::move(old), kNow).judged.status),
            "HISTORY_CHANGED");
}

// Local steps of each worker, averaged: the parameters become the mean of the workers' (McMahan et
// al. 2017, arXiv:1602.05629, algorithm 1).
TEST(SessionRoundsTest, DifferencesUnderRateOneAreFederatedAveraging) {
  Fleet fleet(ConfigFor(Synchronous(), "gradient_descent", 4), 3);
  const std::vector<std::vector<float>> local = {{1, 2, 3, 4}, {3, -2, 5, 0}, {8, 6, 1, 0.5f}};
  const float samples[] = {1, 2, 1};
  for (size_t worker = 0; worker < 3; ++worker) {
    std::vector<float> difference = local[worker];  // from parameters of zero
    Negate(absl::MakeSpan(difference));
    fleet.Contribute(worker, difference, samples[worker]);
  }
  EXPECT_EQ(fleet.values(), (std::vector<float>{3.75f, 1, 3.5f, 1.125f}));
}

// Algorithm 2 of Reddi et al. 2021, arXiv:2003.00295, with Adam as the server's method, from x = 0:
//   D = sum_i p_i D_i    m = (1 - beta1) D    v = beta2 tau^2 + (1 - beta2) D^2
//   x = eta m / (sqrt(v) + tau)
TEST(SessionRoundsTest, FirstFedAdamStepIsThatOfThePaper) {
  SessionConfig config = ConfigFor(Synchronous(), "adam", 4);
  AdamConfig adam;
  adam.dialect = Dialect::kFederated;
  adam.beta1 = 0.9;
  adam.beta2 = 0.99;
  adam.epsilon = 1e-3;
  config.optimizer = std::make_shared<ConfigOf<AdamConfig>>(adam);
  Fleet fleet(config, 2);
  const std::vector<std::vector<float>> differences = {{0.1f, -2, 3e-4f, 0}, {0.7f, 1, 1e-4f, 5}};
  const float samples[] = {3, 1};
  for (size_t worker = 0; worker < 2; ++worker) {
    std::vector<float> gradient = differences[worker];
    Negate(absl::MakeSpan(gradient));  // as the server does
    fleet.Contribute(worker, gradient, samples[worker]);
  }
  const std::vector<float> values = fleet.values();
  for (size_t i = 0; i < 4; ++i) {
    const double mean = 0.75 * static_cast<double>(differences[0][i]) +
                        0.25 * static_cast<double>(differences[1][i]);
    const double m = 0.1 * mean;
    const double v = 0.99 * 1e-6 + 0.01 * mean * mean;
    EXPECT_NEAR(values[i], m / (std::sqrt(v) + 1e-3), 1e-6 * (1 + std::abs(values[i]))) << i;
  }
}

TEST(SessionRoundsTest, MemoryForARoundIsCharged) {
  // But for the records of versions.
  const uint64_t plain = ConfigFor(AggregationConfig(), "momentum").MemoryBytes() -
                         AggregationConfig().RecordBytes() + Synchronous().RecordBytes();
  EXPECT_EQ(ConfigFor(Synchronous(), "momentum").MemoryBytes(), plain + 20 * kElements);
  AggregationConfig staged = Synchronous();
  staged.reduction = Reduction::kMedian;
  staged.max_workers = 6;
  EXPECT_EQ(ConfigFor(staged, "momentum").MemoryBytes(), plain + 28 * kElements);
}

TEST(SessionRoundsTest, WhatNeedsOtherMemoryIsFixed) {
  const SessionConfig config = ConfigFor(Synchronous(), "momentum", 3);
  Fleet fleet(config, 1);
  const auto refused = [&](auto change) {
    AggregationConfig aggregation = Synchronous();
    change(aggregation);
    SessionConfig changed = config;
    changed.aggregation = ConfigOf<AggregationConfig>(aggregation);
    return FieldName(fleet.session().Reconfigure(0, changed, kNow).effects.status);
  };
  EXPECT_EQ(refused([](auto& a) { a.mode = AggregationMode::kAsynchronous; }),
            "config.aggregation.mode");
  EXPECT_EQ(refused([](auto& a) { a.reduction = Reduction::kMedian; }),
            "config.aggregation.reduction");
  EXPECT_EQ(refused([](auto& a) { a.reduce_order = ReduceOrder::kByWorker; }),
            "config.aggregation.reduce_order");
  EXPECT_EQ(refused([](auto& a) { a.close = CloseRule::kCount, a.close_count = 2; }), "");
}

}  // namespace
}  // namespace talweg::core
