// SPDX-License-Identifier: Apache-2.0
//
// What is wrong with a beginning or with a message must be noticed, and leave the replay where it
// was.
#include <bit>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/replay/replay_testing.h"
#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg {
namespace {

using core::search_session::AskFor;

TEST(ReplayRefusalTest, RefusesABeginningThatLacksTheState) {
  const auto code_of = [](const v1::SessionConfig& config, uint64_t version, size_t num_elements) {
    const auto replay = Replay::Begin(config, version, std::vector<float>(num_elements, 0.5f));
    return replay.status().code();
  };
  const v1::SessionConfig adam = Small();
  EXPECT_EQ(code_of(adam, 0, 33), absl::StatusCode::kOk);
  EXPECT_EQ(code_of(adam, 1, 33), absl::StatusCode::kFailedPrecondition);
  v1::SessionConfig descent = Descent(Small());
  EXPECT_EQ(code_of(descent, 1, 33), absl::StatusCode::kOk);
  EXPECT_EQ(code_of(descent, 1, 32), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of(descent, 1, 0), absl::StatusCode::kInvalidArgument);
  descent.mutable_average()->set_decay(0.5);
  EXPECT_EQ(code_of(descent, 0, 33), absl::StatusCode::kOk);
  EXPECT_EQ(code_of(descent, 1, 33), absl::StatusCode::kFailedPrecondition);
}

TEST(ReplayRefusalTest, RefusesASessionThatDoesNotSearchOrThatCannotBe) {
  v1::SessionConfig config = Small();
  config.clear_search();
  const std::vector<float> parameters(33);
  EXPECT_EQ(Replay::Begin(config, 0, parameters).status().code(),
            absl::StatusCode::kFailedPrecondition);
  config = Small();
  config.mutable_search()->set_sigma(-1);
  EXPECT_EQ(core::ReasonName(Replay::Begin(config, 0, parameters).status()),
            "HYPERPARAMETER_OUT_OF_RANGE");
}

// --- What is wrong with a message.

TEST(ReplayRefusalTest, RefusesAChangeThatIsNotPossibleAndGoesOn) {
  Trained trained(Small());
  trained.Make(2);
  Replay replay = Begin(trained);
  ASSERT_TRUE(replay.Apply(trained.messages()[0]).ok());
  v1::WatchGenerationsResponse wrong = trained.messages()[1];
  *wrong.mutable_config() = trained.config();
  wrong.mutable_config()->mutable_search()->set_seed(8);
  EXPECT_EQ(core::ReasonName(replay.Apply(wrong)), "FIELD_IMMUTABLE");
  *wrong.mutable_config() = trained.config();
  wrong.mutable_config()->mutable_search()->set_sigma(-1);
  EXPECT_EQ(core::ReasonName(replay.Apply(wrong)), "HYPERPARAMETER_OUT_OF_RANGE");
  ExpectAt(replay, trained, 1);
  ASSERT_TRUE(replay.Apply(trained.messages()[1]).ok());
  ExpectAt(replay, trained, 2);
}

TEST(ReplayRefusalTest, TakesOnlyTheGenerationOfTheNextVersion) {
  Trained trained(Small());
  trained.Make(3);
  Replay replay = Begin(trained);
  v1::WatchGenerationsResponse nothing;  // as the first message of a stream may be
  nothing.set_version(3);
  EXPECT_TRUE(replay.Apply(nothing).ok());
  ExpectAt(replay, trained, 0);
  EXPECT_EQ(replay.Apply(trained.messages()[1]).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(replay.Apply(trained.messages()[0]).ok());
  EXPECT_EQ(replay.Apply(trained.messages()[0]).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(replay.Apply(trained.messages()[2]).code(), absl::StatusCode::kFailedPrecondition);
  ExpectAt(replay, trained, 1);
  ASSERT_TRUE(replay.Apply(trained.messages()[1]).ok());
  ASSERT_TRUE(replay.Apply(trained.messages()[2]).ok());
  ExpectAt(replay, trained, 3);
}

TEST(ReplayRefusalTest, RefusesARecordThatContradictsItselfAndGoesOn) {
  v1::SessionConfig config = Small();
  config.mutable_search()->set_differences(v1::DIFFERENCES_ONE_SIDED);
  config.mutable_search()->set_baseline(v1::BASELINE_EVALUATED);
  Trained trained(config);
  trained.Make(1);
  const struct {
    const char* what;
    std::function<void(v1::GenerationRecord&)> spoil;
  } rows[] = {
      {"a loss less", [](auto& r) { r.mutable_losses()->RemoveLast(); }},
      {"a loss more", [](auto& r) { r.add_losses(1); }},
      {"a loss more, in double precision", [](auto& r) { r.add_double_losses(1); }},
      {"no losses", [](auto& r) { r.clear_losses(); }},
      {"not a number", [](auto& r) { r.set_losses(4, std::nanf("")); }},
      {"fewer pairs count than have losses", [](auto& r) { r.set_counted("\xff\x03"); }},
      {"no pair counts",
       [](auto& r) {
         r.set_counted(std::string(2, '\0'));
         r.clear_losses();
       }},
      {"too short a mask", [](auto& r) { r.set_counted("\xff"); }},
      {"too long a mask", [](auto& r) { r.set_counted(std::string("\xff\x07\x00", 3)); }},
      {"no loss at the parameters", [](auto& r) { r.clear_evaluated_loss(); }},
      {"a pair more",
       [](auto& r) {
         r.set_num_pairs(12);
         r.add_losses(1);
       }},
      {"no pairs",
       [](auto& r) {
         r.set_num_pairs(0);
         r.clear_losses();
       }},
      {"pairs that no memory holds", [](auto& r) { r.set_num_pairs(4'294'967'295); }},
  };
  Replay replay = Begin(trained);
  for (const auto& row : rows) {
    v1::WatchGenerationsResponse message = trained.messages()[0];
    row.spoil(*message.mutable_record());
    const absl::Status applied = replay.Apply(message);
    EXPECT_EQ(applied.code(), absl::StatusCode::kInvalidArgument) << row.what << ": " << applied;
    ExpectAt(replay, trained, 0);
  }
  ASSERT_TRUE(replay.Apply(trained.messages()[0]).ok());
  ExpectAt(replay, trained, 1);
}

TEST(ReplayRefusalTest, TakesNoMoreStepsOnceItHasGoneAnotherWay) {
  Trained trained(Small());
  trained.Make(3);
  Replay replay = Begin(trained);
  ASSERT_TRUE(replay.Apply(trained.messages()[0]).ok());
  v1::WatchGenerationsResponse wrong = trained.messages()[1];
  wrong.mutable_record()->set_losses(3, wrong.record().losses(3) + 0.25f);
  EXPECT_EQ(replay.Apply(wrong).code(), absl::StatusCode::kDataLoss);
  ExpectAt(replay, trained, 1);
  // Adam's averages have taken the wrong step: the right message would not help.
  EXPECT_EQ(replay.Apply(trained.messages()[1]).code(), absl::StatusCode::kDataLoss);
  ExpectAt(replay, trained, 1);
}

// One bit of one field of the record.
struct Flip {
  const char* field;
  int num_bits;
  std::function<void(v1::GenerationRecord&, int bit)> flip;
  // Whether a flip of the bit must change the parameters. The last places of a number may be lost
  // when the result is rounded.
  std::function<bool(int bit)> matters;
};

TEST(ReplayRefusalTest, NoBitThatFlipsGoesUnnoticed) {
  v1::SessionConfig config = Descent(Small());
  config.mutable_search()->set_close(v1::GENERATION_CLOSE_COUNT);
  config.mutable_search()->set_close_pairs(9);
  Trained trained(config);
  trained.Make(1);
  AskFor(trained.session(), "a", 2);
  AskFor(trained.session(), "b", 9);  // pairs 0 and 1 are never told
  trained.Tell("b", 2, {1, 2, 5, 3, 2, 8, 1, 1.5, 2.5, 3, 7, 1, 4, 2, 3, 9, 1, 6});
  ASSERT_EQ(trained.messages().size(), 2u);
  const auto float_flip = [](float value, int bit) {
    return std::bit_cast<float>(std::bit_cast<uint32_t>(value) ^ 1u << bit);
  };
  const auto double_flip = [](double value, int bit) {
    return std::bit_cast<double>(std::bit_cast<uint64_t>(value) ^ uint64_t{1} << bit);
  };
  const auto always = [](int) { return true; };
  const std::vector<Flip> rows = {
      {"a loss", 32, [&](auto& r, int bit) { r.set_losses(5, float_flip(r.losses(5), bit)); },
       [](int bit) { return bit >= 6; }},
      {"sigma", 32, [&](auto& r, int bit) { r.set_sigma(float_flip(r.sigma(), bit)); },
       [](int bit) { return bit >= 6; }},
      {"learning_rate", 64,
       [&](auto& r, int bit) { r.set_learning_rate(double_flip(r.learning_rate(), bit)); },
       [](int bit) { return bit >= 35; }},
      {"generation", 32, [](auto& r, int bit) { r.set_generation(r.generation() ^ 1u << bit); },
       always},
      {"counted", 11,
       [](auto& r, int bit) {
         (*r.mutable_counted())[bit / 8] = static_cast<char>(r.counted()[bit / 8] ^ 1 << bit % 8);
       },
       always},
      {"version", 64, [](auto& r, int bit) { r.set_version(r.version() ^ uint64_t{1} << bit); },
       always},
      {"num_pairs", 32, [](auto& r, int bit) { r.set_num_pairs(r.num_pairs() ^ 1u << bit); },
       always},
      {"checksum", 32,
       [](auto& r, int bit) { r.set_parameters_checksum(r.parameters_checksum() ^ 1u << bit); },
       always},
  };
  for (const Flip& row : rows) {
    const std::string field = row.field;
    const absl::StatusCode expected = field == "version" ? absl::StatusCode::kFailedPrecondition
                                      : field == "counted" || field == "num_pairs"
                                          ? absl::StatusCode::kInvalidArgument
                                          : absl::StatusCode::kDataLoss;
    for (int bit = 0; bit < row.num_bits; ++bit) {
      Replay replay = Begin(trained);
      ASSERT_TRUE(replay.Apply(trained.messages()[0]).ok());
      v1::WatchGenerationsResponse message = trained.messages()[1];
      row.flip(*message.mutable_record(), bit);
      const absl::Status applied = replay.Apply(message);
      if (applied.ok()) {
        EXPECT_FALSE(row.matters(bit)) << field << " " << bit;
        ExpectAt(replay, trained, 2);
      } else {
        EXPECT_EQ(applied.code(), expected) << field << " " << bit;
        ExpectAt(replay, trained, 1);
      }
    }
  }
  // As many pairs count as before, and one of them is another.
  Replay replay = Begin(trained);
  ASSERT_TRUE(replay.Apply(trained.messages()[0]).ok());
  v1::WatchGenerationsResponse message = trained.messages()[1];
  ASSERT_EQ(message.record().counted(), std::string("\xfc\x07", 2));
  message.mutable_record()->set_counted(std::string("\xfa\x07", 2));
  EXPECT_EQ(replay.Apply(message).code(), absl::StatusCode::kDataLoss);
  ExpectAt(replay, trained, 1);
}

}  // namespace
}  // namespace talweg
