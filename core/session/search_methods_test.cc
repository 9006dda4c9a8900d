// SPDX-License-Identifier: Apache-2.0
//
// Walks the registry: what is promised here of a search holds for every method that will ever be on
// top of it.
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "core/session/run_series.h"
#include "core/session/search_session_testing.h"
#include "gtest/gtest.h"

namespace talweg::core::search_session {
namespace {

// A few shards and a ragged end; matrices, vectors and a scalar.
constexpr uint64_t kElements = 2 * kShard + 3 * kBlock + 517;

// A loss that costs nothing: any number that follows from the point.
double LossOf(const std::vector<float>& point) {
  double loss = 0;
  for (size_t i = 0; i < point.size(); i += 4099) loss += double{point[i]} * point[i];
  return loss;
}

SearchConfig Search() {
  SearchConfig search = Strategy(7, 0.125);
  search.sigma_decay = 0.75;
  search.evaluate_every = 2;
  return search;
}

SessionConfig ConfigOn(const Method& method, const SearchConfig& search = Search()) {
  return ConfigFor(method, search, SpaceOf(kElements).layout, 0.01);
}

// The method's fields that may be changed live, halved if they may be that.
std::shared_ptr<const Config> HalvedWhereLive(const Method& method) {
  std::unique_ptr<Config> config = method.default_config();
  for (const FieldInfo& field : config->Fields()) {
    const FieldValue before = config->Get(field.name);
    if (field.change != Change::kLive || !std::holds_alternative<double>(before)) continue;
    const bool set = config->Set(field.name, std::get<double>(before) / 2).ok();
    if (set && config->Validate().ok()) continue;
    EXPECT_TRUE(config->Set(field.name, before).ok());
  }
  return config;
}

// Everything that a session may be told to do at once, changed once.
SessionConfig FullConfigOn(const Method& method, bool changed = false) {
  SearchConfig search = Search();
  search.perturbation = PerturbationKind::kLowRank;
  search.rank = 2;
  if (changed) {
    search.num_pairs = 5;
    search.sigma = 0.25;
    search.shaping = Shaping::kCenteredRanks;
  }
  SessionConfig config = ConfigOn(method, search);
  if (changed) config.optimizer = HalvedWhereLive(method);
  config.schedule = ConstantRate(changed ? 0.005 : 0.01);
  config.clipping = ConfigOf<ClippingConfig>({.max_norm = changed ? 20.0 : 40.0, .max_value = 0.5});
  config.weight_decay = ConfigOf<WeightDecayConfig>({.coupled = 0.02, .decoupled = 0.05});
  config.average = ConfigOf<WeightAverageConfig>({.decay = 0.75});
  GroupConfig frozen, slow;
  frozen.frozen = true;
  slow.learning_rate_factor = 0.25;
  config.groups = {{"t1", ConfigOf<GroupConfig>(frozen)}, {"t3", ConfigOf<GroupConfig>(slow)}};
  EXPECT_TRUE(config.Resolve().ok());
  return config;
}

void RunBackward(Work& work) {
  for (size_t stage = 0; stage < work.NumStages(); ++stage) {
    work.BeginStage(stage);
    for (size_t piece = work.NumPieces(stage); piece > 0; --piece) work.RunPiece(stage, piece - 1);
    work.EndStage(stage);
  }
}
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

// The session that a saved state makes, which must be what was saved.
std::unique_ptr<Session> Reloaded(Session& session) {
  const std::string bytes = session.Save();
  auto loaded = Session::Load(bytes, kNow);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  if (!loaded.ok()) return nullptr;
  EXPECT_EQ((*loaded)->Save(), bytes);
  EXPECT_EQ((*loaded)->Checksum(), session.Checksum());
  return *std::move(loaded);
}

class EverySearchMethodTest : public testing::TestWithParam<Method> {};

TEST_P(EverySearchMethodTest, ContinuesBitForBitFromTheMiddleOfAGeneration) {
  const auto uninterrupted = Make(ConfigOn(GetParam()));
  const auto stopped = Make(ConfigOn(GetParam()));
  for (Session* session : {uninterrupted.get(), stopped.get()}) {
    for (int version = 0; version < 2; ++version) MakeVersion(*session, LossOf);
    Evaluate(*session, LossOf, "a", 3);  // the parameters
    Evaluate(*session, LossOf, "a", 3);
  }
  ASSERT_EQ(stopped->search().Describe(kNow).num_told, 3u);
  const auto resumed = Reloaded(*stopped);
  for (Session* session : {uninterrupted.get(), resumed.get()}) {
    for (int version = 0; version < 3; ++version) MakeVersion(*session, LossOf);
  }
  EXPECT_EQ(resumed->Save(), uninterrupted->Save());
  EXPECT_EQ(resumed->version(), 5u);
  EXPECT_EQ(*resumed->last_step()->search, *uninterrupted->last_step()->search);
}

TEST_P(EverySearchMethodTest, ContinuesBitForBitWithAChangeThatWaits) {
  const auto uninterrupted = Make(FullConfigOn(GetParam()));
  const auto stopped = Make(FullConfigOn(GetParam()));
  for (Session* session : {uninterrupted.get(), stopped.get()}) {
    MakeVersion(*session, LossOf, RunOnThreads);
    Evaluate(*session, LossOf, "a", 3);
    const Reconfigured changed =
        session->Reconfigure(0, FullConfigOn(GetParam(), /*changed=*/true), kNow);
    ASSERT_TRUE(changed.effects.status.ok()) << changed.effects.status;
    EXPECT_EQ(session->search().config_version(), 1u);
    EXPECT_EQ(session->config_version(), 2u);
  }
  const auto resumed = Reloaded(*stopped);
  EXPECT_TRUE(SameConfig(resumed->config(), stopped->config()));
  EXPECT_TRUE(SameConfig(resumed->newest_config(), stopped->newest_config()));
  EXPECT_FALSE(SameConfig(resumed->config(), resumed->newest_config()));
  EXPECT_EQ(resumed->search().config_version(), 1u);
  for (int version = 0; version < 3; ++version) {
    MakeVersion(*uninterrupted, LossOf);
    MakeVersion(*resumed, LossOf, RunBackward);
    EXPECT_EQ(resumed->search().config_version(), 2u);
    ASSERT_EQ(resumed->Save(), uninterrupted->Save()) << version;
  }
  EXPECT_EQ(resumed->last_step()->search->num_pairs, 5u);
}

TEST_P(EverySearchMethodTest, ThreadsAndWhoEvaluatesWhatDoNotChangeABit) {
  const auto forward = Make(ConfigOn(GetParam()));
  const auto backward = Make(ConfigOn(GetParam()));
  const auto threads = Make(ConfigOn(GetParam()));
  for (int version = 0; version < 2; ++version) {
    MakeVersion(*forward, LossOf, RunHere, 1000);
    MakeVersion(*backward, LossOf, RunBackward, 1);
    MakeVersion(*threads, LossOf, RunOnThreads, 4);
  }
  EXPECT_EQ(forward->Save(), backward->Save());
  EXPECT_EQ(forward->Save(), threads->Save());
}

TEST_P(EverySearchMethodTest, StepsAndTellsWhatItMade) {
  const auto session = Make(ConfigOn(GetParam()));
  const std::vector<float> before = Values(*session);
  MakeVersion(*session, LossOf);
  const std::vector<float> after = Values(*session);
  double update = 0;
  double weight = 0;
  for (size_t i = 0; i < kElements; ++i) {
    update += (double{after[i]} - before[i]) * (double{after[i]} - before[i]);
    weight += double{after[i]} * after[i];
  }
  EXPECT_GT(update, 0);
  EXPECT_NEAR(session->last_step()->update_norm, std::sqrt(update), 1e-6 * std::sqrt(update));
  EXPECT_NEAR(session->last_step()->search->weight_norm, std::sqrt(weight),
              1e-12 * std::sqrt(weight));
  EXPECT_EQ(session->last_step()->num_non_finite, 0u);
}

TEST_P(EverySearchMethodTest, MemoryIsThatOfTheMethodAndOfTheGenerations) {
  const SessionConfig searches = ConfigOn(GetParam());
  SessionConfig trains = searches;
  trains.search = ConfigOf<SearchConfig>();
  ASSERT_TRUE(trains.Resolve().ok());
  EXPECT_EQ(searches.MemoryBytes() - trains.MemoryBytes(),
            searches.search.value().MemoryBytes() + RunSeries::kCapacity * sizeof(SearchNumbers));
}

INSTANTIATE_TEST_SUITE_P(Registry, EverySearchMethodTest, testing::ValuesIn(Methods()),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace talweg::core::search_session
