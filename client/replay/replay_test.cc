// SPDX-License-Identifier: Apache-2.0
//
// A replay has the bits of the session, whatever the search and whatever the caller's thread.
#include "client/replay/replay.h"

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include <bit>
#include <cfenv>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/replay/replay_testing.h"
#include "core/base/float_environment.h"
#include "gtest/gtest.h"
#include "server/wire/config_from_proto.h"

namespace talweg {
namespace {

using core::PseudoVector;
using core::search_session::AskFor;
using core::search_session::kNow;

// Applies everything behind `version` and compares each version.
void ExpectReplayed(const Trained& trained, uint64_t version = 0) {
  ASSERT_FALSE(trained.messages().empty());
  Replay replay = Begin(trained, version);
  while (version < trained.messages().size()) {
    const absl::Status applied = replay.Apply(trained.messages()[version]);
    ASSERT_TRUE(applied.ok()) << applied;
    ExpectAt(replay, trained, ++version);
    EXPECT_FALSE(BitsOf(trained.at(version)) == BitsOf(trained.at(version - 1))) << version;
  }
}

TEST(ReplayTest, HasTheBitsOfEveryVersionWhateverTheSearch) {
  const struct {
    const char* name;
    std::function<void(v1::SessionConfig&)> change;
  } rows[] = {
      {"as it is", [](auto&) {}},
      {"centered ranks",
       [](auto& c) { c.mutable_search()->set_shaping(v1::SHAPING_CENTERED_RANKS); }},
      {"z-score", [](auto& c) { c.mutable_search()->set_shaping(v1::SHAPING_Z_SCORE); }},
      {"signs", [](auto& c) { c.mutable_search()->set_noise(v1::NOISE_SCHEME_RADEMACHER); }},
      {"maximize", [](auto& c) { c.mutable_search()->set_direction(v1::DIRECTION_MAXIMIZE); }},
      {"directional",
       [](auto& c) { c.mutable_search()->set_differences(v1::DIFFERENCES_DIRECTIONAL); }},
      {"one-sided, mean",
       [](auto& c) {
         c.mutable_search()->set_differences(v1::DIFFERENCES_ONE_SIDED);
         c.mutable_search()->set_baseline(v1::BASELINE_MEAN);
       }},
      {"one-sided, evaluated",
       [](auto& c) {
         c.mutable_search()->set_differences(v1::DIFFERENCES_ONE_SIDED);
         c.mutable_search()->set_baseline(v1::BASELINE_EVALUATED);
       }},
      {"loss-weighted, maximize",
       [](auto& c) {
         c.mutable_search()->set_method(v1::SEARCH_METHOD_RANDOM_SEARCH);
         c.mutable_search()->set_acceptance(v1::ACCEPTANCE_LOSS_WEIGHTED);
         c.mutable_search()->set_baseline(v1::BASELINE_NONE);
         c.mutable_search()->set_direction(v1::DIRECTION_MAXIMIZE);
       }},
      {"low rank",
       [](auto& c) {
         c.mutable_search()->set_perturbation(v1::PERTURBATION_LOW_RANK);
         c.mutable_search()->set_rank(3);
       }},
      {"evaluated now and then", [](auto& c) { c.mutable_search()->set_evaluate_every(2); }},
      {"sigma decays", [](auto& c) { c.mutable_search()->set_sigma_decay(0.75); }},
      {"an average, clipped and decayed",
       [](auto& c) {
         c.mutable_average()->set_decay(0.5);
         c.mutable_clipping()->set_max_norm(0.5);
         c.mutable_weight_decay()->set_decoupled(0.01);
       }},
      {"a warm-up", [](auto& c) { c.mutable_schedule()->set_warmup_steps(3); }},
      {"muon", [](auto& c) { c.mutable_optimizer()->mutable_muon(); }},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    v1::SessionConfig config = Large();
    row.change(config);
    Trained trained(config);
    trained.Make(4);
    ExpectReplayed(trained);
  }
}

TEST(ReplayTest, KeepsAPerturbationExactlyIfTheSessionDid) {
  v1::SessionConfig config = Large();
  config.mutable_search()->set_method(v1::SEARCH_METHOD_RANDOM_SEARCH);
  config.mutable_optimizer()->mutable_gradient_descent();
  config.mutable_schedule()->set_learning_rate(1);
  config.mutable_search()->set_num_pairs(2);
  Trained trained(config);
  trained.Make(8);
  Replay replay = Begin(trained);
  int num_kept = 0;
  for (uint64_t version = 1; version <= 8; ++version) {
    const v1::WatchGenerationsResponse& message = trained.messages()[version - 1];
    EXPECT_TRUE(message.record().has_evaluated_loss());
    ASSERT_TRUE(replay.Apply(message).ok());
    ExpectAt(replay, trained, version);
    num_kept += BitsOf(trained.at(version)) != BitsOf(trained.at(version - 1)) ? 1 : 0;
  }
  EXPECT_GT(num_kept, 0);
  EXPECT_LT(num_kept, 8);
}

TEST(ReplayTest, EvaluatedLossesComeWithTheGenerationsThatHaveThem) {
  v1::SessionConfig config = Small();
  config.mutable_search()->set_evaluate_every(2);
  Trained trained(config);
  trained.Make(4);
  for (uint64_t version = 0; version < 4; ++version) {
    EXPECT_EQ(trained.messages()[version].record().has_evaluated_loss(), version % 2 == 0);
  }
  ExpectReplayed(trained);
}

TEST(ReplayTest, TakesLossesInDoublePrecision) {
  Trained trained(Large());
  trained.Make(3, 1 / 3.0);  // float32 holds no third
  for (const v1::WatchGenerationsResponse& message : trained.messages()) {
    EXPECT_EQ(message.record().losses_size(), 0);
    EXPECT_EQ(message.record().double_losses_size(), 22);
  }
  ExpectReplayed(trained);
}

TEST(ReplayTest, LeavesOutThePairsThatWereDropped) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  Trained trained(Large());
  AskFor(trained.session(), "a", 11);
  // Pair 0 and pairs on both sides of a byte's end.
  trained.Tell("a", 0,
               {kNan, 1, 2, 3, 4, 6, 9, 7, 5, 1, 3, 8, 2, HUGE_VAL, 5, 2, kNan, 3, 11, 6, 2.5, 3});
  trained.Make(2);
  ASSERT_EQ(trained.messages().size(), 3u);
  const v1::GenerationRecord& record = trained.messages()[0].record();
  EXPECT_EQ(record.counted(), std::string("\xbe\x06", 2));  // not 0, 6 and 8
  EXPECT_EQ(record.losses_size(), 16);
  EXPECT_EQ(trained.messages()[1].record().counted(), "");
  ExpectReplayed(trained);
}

TEST(ReplayTest, TakesAGenerationThatClosedWithTheFirstPairs) {
  v1::SessionConfig config = Large();
  config.mutable_search()->set_close(v1::GENERATION_CLOSE_COUNT);
  config.mutable_search()->set_close_pairs(5);
  Trained trained(config);
  AskFor(trained.session(), "a", 3);  // pairs 0 to 2 are never told
  AskFor(trained.session(), "b", 8);
  trained.Tell("b", 9, {2, 1, 4, 5});
  trained.Tell("b", 3, {7, 1, 2, 8, 1, 0});
  ASSERT_EQ(trained.messages().size(), 1u);
  EXPECT_EQ(trained.messages()[0].record().counted(), std::string("\x38\x06", 2));
  ExpectReplayed(trained);
}

TEST(ReplayTest, FollowsAChangeOfTheConfiguration) {
  Trained trained(Large());
  trained.Make(2);
  v1::SessionConfig changed = trained.config();
  changed.mutable_optimizer()->mutable_adam()->set_beta1(0.5);
  changed.mutable_schedule()->set_learning_rate(0.25);
  changed.mutable_search()->set_num_pairs(6);
  changed.mutable_search()->set_sigma(0.5);
  changed.mutable_search()->set_shaping(v1::SHAPING_CENTERED_RANKS);
  const auto reconfigure = [&](const v1::SessionConfig& config) {
    return trained.session().Reconfigure(0, server::ConfigFromProto(config).value(), kNow);
  };
  ASSERT_TRUE(reconfigure(changed).change.has_value());
  trained.Make(2);
  EXPECT_TRUE(trained.messages()[2].has_config());
  EXPECT_FALSE(trained.messages()[3].has_config());
  EXPECT_EQ(trained.messages()[3].record().num_pairs(), 6u);
  changed.mutable_optimizer()->mutable_adam()->set_beta1(0.75);
  ASSERT_TRUE(reconfigure(changed).change.has_value());
  trained.Make(1);
  EXPECT_TRUE(trained.messages()[4].has_config());
  ExpectReplayed(trained);

  // If a change is kept from it, the replay notices: by the pairs, or by the checksum.
  Replay replay = Begin(trained);
  ASSERT_TRUE(replay.Apply(trained.messages()[0]).ok());
  ASSERT_TRUE(replay.Apply(trained.messages()[1]).ok());
  v1::WatchGenerationsResponse without = trained.messages()[2];
  without.clear_config();
  EXPECT_EQ(replay.Apply(without).code(), absl::StatusCode::kInvalidArgument);
  ExpectAt(replay, trained, 2);
  ASSERT_TRUE(replay.Apply(trained.messages()[2]).ok());
  ASSERT_TRUE(replay.Apply(trained.messages()[3]).ok());
  without = trained.messages()[4];
  without.clear_config();
  EXPECT_EQ(replay.Apply(without).code(), absl::StatusCode::kDataLoss);
  ExpectAt(replay, trained, 4);
}

// --- Beginnings.

TEST(ReplayTest, BeginsAtALaterVersionIfNothingBesideTheParametersMatters) {
  Trained trained(Descent(Large()));
  trained.Make(5);
  ExpectReplayed(trained, 3);
  ExpectReplayed(trained, 5);  // nothing is left to replay
}

// --- The checksum, computed once more and bit by bit.

uint32_t PlainCrc32c(absl::Span<const uint8_t> bytes) {
  uint32_t crc = 0xffffffff;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
  }
  return ~crc;
}

uint32_t PlainChecksum(const std::vector<float>& parameters) {
  const auto append = [](std::vector<uint8_t>& bytes, uint32_t word) {
    for (int shift = 0; shift < 32; shift += 8)
      bytes.push_back(static_cast<uint8_t>(word >> shift));
  };
  std::vector<uint8_t> blocks;
  for (size_t begin = 0; begin < parameters.size(); begin += 4096) {
    std::vector<uint8_t> block;
    for (size_t i = begin; i < std::min(begin + 4096, parameters.size()); ++i) {
      append(block, std::bit_cast<uint32_t>(parameters[i]));
    }
    append(blocks, PlainCrc32c(block));
  }
  return PlainCrc32c(blocks);
}

TEST(ReplayTest, ComparesTheChecksumThatThePageDefines) {
  EXPECT_EQ(PlainCrc32c({'1', '2', '3', '4', '5', '6', '7', '8', '9'}), 0xe3069283);
  for (const auto& [rows, cols] : {std::pair(5, 4), {70, 60}, {100, 123}, {3, 4093}}) {
    Trained trained(Strategy(rows, cols));
    trained.Make(1);
    v1::WatchGenerationsResponse message = trained.messages()[0];
    message.mutable_record()->set_parameters_checksum(PlainChecksum(trained.at(1)));
    Replay replay = Begin(trained);
    const absl::Status applied = replay.Apply(message);
    EXPECT_TRUE(applied.ok()) << applied;
    ExpectAt(replay, trained, 1);
  }
}

// --- The thread of the caller.

// Parameters, losses and steps so small that denormals are among them.
TEST(ReplayTest, IsImmuneToTheFloatingPointEnvironmentOfItsThread) {
  for (const bool ranks : {false, true}) {
    v1::SessionConfig config = Descent(Large());
    config.mutable_schedule()->set_learning_rate(1);
    config.mutable_search()->set_sigma(ranks ? 2e-38 : 1);
    if (ranks) {
      config.mutable_search()->set_shaping(v1::SHAPING_CENTERED_RANKS);
      config.mutable_search()->set_scale(v1::SCALE_TUTORIAL);
    }
    std::vector<float> initial = PseudoVector(5, NumElements(config));
    for (float& value : initial) value *= 1e-38f;
    Trained trained(config, initial);
    trained.Make(3, std::ldexp(1.0, -125));
    const core::DefaultFloatEnvironment outer;  // the test leaves the thread as it was
    std::fesetround(FE_UPWARD);
#ifdef __SSE__
    constexpr uint32_t kFlush = 0x8040;  // flush to zero, denormals are zero
    _mm_setcsr(_mm_getcsr() | kFlush);
#endif
    ExpectReplayed(trained);
    // Errors too leave the thread as it was.
    Replay replay = Begin(trained);
    EXPECT_EQ(replay.Apply(trained.messages()[1]).code(), absl::StatusCode::kFailedPrecondition);
    v1::WatchGenerationsResponse wrong = trained.messages()[0];
    wrong.mutable_record()->set_parameters_checksum(wrong.record().parameters_checksum() + 1);
    EXPECT_EQ(replay.Apply(wrong).code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(std::fegetround(), FE_UPWARD);
#ifdef __SSE__
    EXPECT_EQ(_mm_getcsr() & kFlush, kFlush);
#endif
  }
}

}  // namespace
}  // namespace talweg
