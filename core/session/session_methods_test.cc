// SPDX-License-Identifier: Apache-2.0
//
// Walks the registry: what is promised here holds for every method that will ever be in it.
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "core/session/one_worker_testing.h"
#include "core/session/run_series.h"
#include "core/session/session.h"
#include "gtest/gtest.h"

namespace talweg::core::one_worker {
namespace {

// Runs the pieces of each stage from the last to the first.
void RunBackward(Work& work) {
  for (size_t stage = 0; stage < work.NumStages(); ++stage) {
    work.BeginStage(stage);
    for (size_t piece = work.NumPieces(stage); piece > 0; --piece) work.RunPiece(stage, piece - 1);
    work.EndStage(stage);
  }
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

class EveryMethodTest : public testing::TestWithParam<Method> {};

TEST_P(EveryMethodTest, LoadedSessionContinuesBitForBit) {
  const auto uninterrupted = Make(GetParam());
  const auto stopped = Make(GetParam());
  for (int step = 0; step < 7; ++step) Step(*uninterrupted);
  for (int step = 0; step < 4; ++step) Step(*stopped);
  const std::string bytes = stopped->Save();
  const auto resumed = Session::Load(bytes, kNow);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ((*resumed)->Save(), bytes);
  EXPECT_EQ((*resumed)->Checksum(), stopped->Checksum());
  Answer last;
  for (int step = 0; step < 3; ++step) last = Step(**resumed);
  EXPECT_EQ((*resumed)->Save(), uninterrupted->Save());
  EXPECT_EQ(last.applied_version, 7u);
  EXPECT_EQ(last.report->update_norm, uninterrupted->machine().last_step()->update_norm);
}

TEST_P(EveryMethodTest, EverySettingSurvivesSaveAndLoadBitForBit) {
  const auto uninterrupted = Make(FullConfig(GetParam()));
  const auto stopped = Make(FullConfig(GetParam()));
  for (int step = 0; step < 6; ++step) Step(*uninterrupted, RunOnThreads);
  for (int step = 0; step < 3; ++step) Step(*stopped);
  const std::string bytes = stopped->Save();
  const auto resumed = Session::Load(bytes, kNow);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ((*resumed)->Save(), bytes);
  for (int step = 0; step < 3; ++step) Step(**resumed, RunBackward);
  EXPECT_EQ((*resumed)->Save(), uninterrupted->Save());
}

TEST_P(EveryMethodTest, ThreadsAndOrderOfShardsDoNotChangeABit) {
  const auto forward = Make(GetParam());
  const auto backward = Make(GetParam());
  const auto threads = Make(GetParam());
  for (int step = 0; step < 3; ++step) {
    Step(*forward, RunHere);
    Step(*backward, RunBackward);
    Step(*threads, RunOnThreads);
  }
  EXPECT_EQ(forward->Save(), backward->Save());
  EXPECT_EQ(forward->Save(), threads->Save());
}

TEST_P(EveryMethodTest, StepMovesParametersAndTellsByHowMuch) {
  const auto session = Make(GetParam());
  const auto before = session->parameters();
  const Answer answer = Step(*session);
  const auto after = session->parameters();
  EXPECT_EQ(before->version, 0u);
  EXPECT_EQ(after->version, 1u);
  double update = 0;
  double gradient = 0;
  const std::vector<float> sent = PseudoVector(100, kElements);
  for (size_t index = 0; index < kElements; ++index) {
    const double moved = double{after->values.data()[index]} - before->values.data()[index];
    update += moved * moved;
    gradient += double{sent[index]} * sent[index];
  }
  EXPECT_GT(update, 0);
  EXPECT_NEAR(answer.report->update_norm, std::sqrt(update), 1e-6 * std::sqrt(update));
  EXPECT_NEAR(answer.report->gradient_norm, std::sqrt(gradient), 1e-12 * std::sqrt(gradient));
}

TEST_P(EveryMethodTest, FrozenTensorsStayAndOthersMove) {
  const auto session = Make(FullConfig(GetParam()));
  const std::vector<float> before = Values(*session);
  Step(*session);
  const std::vector<float> after = Values(*session);
  const Layout& layout = *session->config().layout;
  for (size_t tensor = 0; tensor < layout.tensors().size(); ++tensor) {
    const auto begin = static_cast<ptrdiff_t>(layout.offsets()[tensor]);
    const auto end = begin + static_cast<ptrdiff_t>(layout.size_of(tensor));
    EXPECT_EQ(std::equal(before.begin() + begin, before.begin() + end, after.begin() + begin),
              layout.tensors()[tensor].name == "t1")
        << tensor;
  }
}

TEST_P(EveryMethodTest, MemoryIsWhatSlotsAndScratchTake) {
  const SessionConfig config = ConfigFor(GetParam());
  class Counter final : public StateVisitor {
   public:
    void Slot(absl::string_view, absl::Span<float> values) override {
      bytes += values.size() * sizeof(float);
    }
    void Scalar(absl::string_view, double&) override {}
    uint64_t bytes = 0;
  } counter;
  const auto optimizer = config.method->create(*config.optimizer, config.Space());
  optimizer->VisitState(counter);
  EXPECT_EQ(config.MemoryBytes(), counter.bytes + optimizer->ScratchBytes() +
                                      3 * kElements * sizeof(float) +
                                      config.layout->memory_bytes() + RunSeries::kBytes +
                                      config.aggregation.value().RecordBytes());
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryMethodTest, testing::ValuesIn(Methods()),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace talweg::core::one_worker
