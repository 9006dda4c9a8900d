// SPDX-License-Identifier: Apache-2.0
//
// Saved states that are damaged, changes of a live session, and contributions that accumulate.
#include "core/session/session.h"

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "core/session/one_worker_testing.h"
#include "gtest/gtest.h"

namespace talweg::core::one_worker {
namespace {

TEST(SessionTest, DamagedStateIsRefused) {
  const auto session = Make(*FindMethod("adam"), /*num_elements=*/70);
  Step(*session);
  const std::string bytes = session->Save();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto loaded = Session::Load(absl::string_view(bytes).substr(0, size), kNow);
    ASSERT_EQ(ReasonName(loaded.status()), "STATE_CORRUPT") << size;
  }
  for (size_t index = 0; index < bytes.size(); ++index) {
    std::string flipped = bytes;
    flipped[index] = static_cast<char>(flipped[index] ^ 0x10);
    ASSERT_EQ(ReasonName(Session::Load(flipped, kNow).status()), "STATE_CORRUPT") << index;
  }
}

TEST(SessionTest, StateThatLiesUnderARightChecksumIsRefusedWithoutACrash) {
  const auto session = Make(*FindMethod("momentum"), /*num_elements=*/20);
  Step(*session);
  const std::string bytes = session->Save();
  size_t refused = 0;
  for (size_t index = 0; index + 4 < bytes.size(); ++index) {
    for (const int bit : {0, 7}) {
      std::string body = bytes.substr(0, bytes.size() - 4);
      body[index] = static_cast<char>(body[index] ^ (1 << bit));
      ByteWriter checksum;
      checksum.Uint32(Crc32c(body));
      const auto loaded = Session::Load(body + checksum.bytes(), kNow);
      if (!loaded.ok()) ++refused;
    }
  }
  // Names, sizes and kinds are checked; only a changed value may go unnoticed.
  EXPECT_GT(refused, bytes.size() / 4);
}

TEST(SessionTest, ChangeTakesEffectAtTheNextVersionAndCounts) {
  const auto session = Make(*FindMethod("adam"));
  const auto untouched = Make(*FindMethod("adam"));
  Step(*session);
  Step(*untouched);
  SessionConfig changed = session->config();
  std::unique_ptr<Config> optimizer = changed.optimizer->Clone();
  ASSERT_TRUE(optimizer->Set("beta1", FieldValue(0.5)).ok());
  changed.optimizer = std::move(optimizer);
  EXPECT_EQ(ReasonName(session->Reconfigure(kHistory + 1, changed, kNow).effects.status),
            "HISTORY_CHANGED");
  ASSERT_TRUE(session->Reconfigure(kHistory, changed, kNow).effects.status.ok());
  EXPECT_EQ(session->config_version(), 2u);
  ASSERT_TRUE(session->Reconfigure(0, changed, kNow).effects.status.ok());  // the same again
  EXPECT_EQ(session->config_version(), 2u);
  Step(*session);
  Step(*untouched);
  EXPECT_NE(session->parameters()->values.data()[0], untouched->parameters()->values.data()[0]);
}

TEST(SessionTest, FixedFieldsStayFixed) {
  const auto session = Make(*FindMethod("adam"));
  const uint32_t checksum = session->Checksum();
  SessionConfig changed = session->config();
  std::unique_ptr<Config> optimizer = changed.optimizer->Clone();
  ASSERT_TRUE(optimizer->Set("amsgrad", FieldValue(true)).ok());
  changed.optimizer = std::move(optimizer);
  const absl::Status refused = session->Reconfigure(0, changed, kNow).effects.status;
  EXPECT_EQ(ReasonName(refused), "FIELD_IMMUTABLE");
  EXPECT_EQ(FieldName(refused), "config.optimizer.adam.amsgrad");
  changed = ConfigFor(*FindMethod("momentum"));
  EXPECT_EQ(FieldName(session->Reconfigure(0, changed, kNow).effects.status), "config.optimizer");
  changed = ConfigFor(*FindMethod("adam"), kElements + 1);
  EXPECT_EQ(FieldName(session->Reconfigure(0, changed, kNow).effects.status), "config.layout");
  EXPECT_EQ(session->Checksum(), checksum);
  EXPECT_EQ(session->config_version(), 1u);
}

TEST(SessionTest, SettingsThatNeedOtherMemoryAreFixed) {
  const auto session = Make(FullConfig(*FindMethod("adam")));
  SessionConfig changed = session->config();
  changed.average = {};
  EXPECT_EQ(FieldName(session->Reconfigure(0, changed, kNow).effects.status),
            "config.average.decay");
  changed = session->config();
  AggregationConfig aggregation = changed.aggregation.value();
  aggregation.gradient_accumulation_steps = 2;
  changed.aggregation = ConfigOf<AggregationConfig>(aggregation);
  EXPECT_EQ(FieldName(session->Reconfigure(0, changed, kNow).effects.status),
            "config.aggregation.gradient_accumulation_steps");
  EXPECT_EQ(session->config_version(), 1u);
}

TEST(SessionTest, GroupsThatChangeBetweenStagingAndStepAreMeasuredAnew) {
  const auto session = Make(*FindMethod("gradient_descent"));
  const std::vector<float> gradient = PseudoVector(100, kElements);
  StagedGradient staged(kElements);
  staged.Begin(session->config().group_map);
  staged.Stage({0, kElements}, Dtype::kFloat32, reinterpret_cast<const char*>(gradient.data()));
  ASSERT_TRUE(session->Reconfigure(0, FullConfig(*FindMethod("gradient_descent")), kNow)
                  .effects.status.ok() == false);  // an average cannot be added
  SessionConfig changed = FullConfig(*FindMethod("gradient_descent"));
  changed.average = {};
  ASSERT_TRUE(session->Reconfigure(0, changed, kNow).effects.status.ok());
  const auto expected = Make(changed);
  ContributionInput input{Contribution{kHistory, "a", 1, 1, 0}};
  input.contribution.ticket = 1;
  input.gradient = Borrow(staged);
  ASSERT_TRUE(ContributeAndRun(*session, std::move(input), kNow).ended.step.has_value());
  Step(*expected);
  EXPECT_EQ(Values(*session), Values(*expected));
}

// Runs each piece of a stage on a thread of its own.
void RunOnThreads(Work& work) {
  for (size_t stage = 0; stage < work.NumStages(); ++stage) {
    work.BeginStage(stage);
    std::vector<std::thread> threads;
    for (size_t piece = 0; piece < work.NumPieces(stage); ++piece) {
      threads.emplace_back([&work, stage, piece] { work.RunPiece(stage, piece); });
    }
    for (std::thread& thread : threads) thread.join();
    work.EndStage(stage);
  }
}

TEST(SessionTest, AGradientThatIsNotFiniteIsRefusedWithItsFirstSuchElement) {
  const auto session = Make(*FindMethod("gradient_descent"));
  const Layout& layout = *session->config().layout;
  const size_t last = layout.tensors().size() - 1;
  std::vector<float> gradient(kElements, 0.f);
  gradient[layout.offsets()[last] + kShard + 5] = -std::numeric_limits<float>::infinity();
  gradient[kElements - 1] = std::nanf("");
  StagedGradient staged(kElements);
  for (const Dtype dtype : {Dtype::kFloat32, Dtype::kFloat16}) {
    const bool narrow = dtype == Dtype::kFloat16;
    staged.Begin(session->config().group_map);
    std::vector<char> bytes(kElements * DtypeBytes(dtype));
    FromFloat32(dtype, gradient, bytes.data());
    staged.Stage({0, kElements}, dtype, bytes.data());
    ContributionInput input{Contribution{kHistory, "a", 1, narrow ? 2u : 1u, 0}};
    input.gradient = Borrow(staged);
    const Outcome outcome = session->Contribute(input, kNow);
    ASSERT_TRUE(outcome.effects.answer.has_value());
    EXPECT_EQ(outcome.effects.answer->verdict, Verdict::kRejectedNonFinite);
    ASSERT_TRUE(outcome.effects.answer->fault.has_value());
    EXPECT_EQ(outcome.effects.answer->fault->tensor, layout.tensors()[last].name);
    EXPECT_EQ(outcome.effects.answer->fault->element, kShard + 5);
    EXPECT_EQ(outcome.effects.answer->fault->may_have_overflowed, narrow);
    EXPECT_FALSE(session->Contribute(input, kNow).effects.answer->fault.has_value());
  }
}

TEST(SessionTest, AVersionWhoseParametersAreNotFiniteSaysSo) {
  SessionConfig config = ConfigFor(*FindMethod("gradient_descent"));
  RateConfig rate;
  rate.learning_rate = 1e30;
  const DecayKind& kind = DecayKinds().front();
  config.schedule = Schedule(ConfigOf<RateConfig>(rate), kind, kind.default_config());
  const auto session = Make(config);
  std::vector<float> gradient(kElements, 0.f);
  const Answer finite = Contribute(*session, 1, gradient);
  EXPECT_EQ(finite.report->num_non_finite, 0u);
  gradient[kShard + 5] = 1e30f;
  gradient[kElements - 1] = -1e30f;
  const Answer overflowed = Contribute(*session, 2, gradient);
  EXPECT_EQ(overflowed.verdict, Verdict::kApplied);
  EXPECT_EQ(overflowed.report->num_non_finite, 2u);
  EXPECT_EQ(overflowed.report->first_non_finite, kShard + 5);
  // It is said of every version from then on.
  const Answer later = Contribute(*session, 3, std::vector<float>(kElements, 0.f));
  EXPECT_EQ(later.report->num_non_finite, 2u);
}

TEST(SessionTest, AccumulatedContributionsMakeTheStepOfTheirMean) {
  SessionConfig config = ConfigFor(*FindMethod("adam"));
  AggregationConfig aggregation = config.aggregation.value();
  aggregation.gradient_accumulation_steps = 3;
  config.aggregation = ConfigOf<AggregationConfig>(aggregation);
  const auto accumulating = Make(config);
  const auto reference = Make(*FindMethod("adam"));
  uint64_t sequence = 0;
  for (int version = 0; version < 3; ++version) {
    std::vector<float> mean(kElements);
    std::vector<double> sum(kElements);
    Answer answer;
    for (int part = 0; part < 3; ++part) {
      const std::vector<float> gradient = PseudoVector(7 * sequence + 3, kElements);
      for (size_t i = 0; i < kElements; ++i) sum[i] += gradient[i];
      answer = Contribute(*accumulating, ++sequence, gradient, RunOnThreads);
      EXPECT_EQ(answer.verdict, part < 2 ? Verdict::kPending : Verdict::kApplied);
      EXPECT_EQ(answer.applied_version, static_cast<uint64_t>(version + 1));
    }
    EXPECT_EQ(answer.report->contributors, 3u);
    for (size_t i = 0; i < kElements; ++i) mean[i] = static_cast<float>(sum[i] / 3);
    Contribute(*reference, static_cast<uint64_t>(version + 1), mean);
    EXPECT_EQ(Values(*accumulating), Values(*reference));
  }
}

}  // namespace
}  // namespace talweg::core::one_worker
