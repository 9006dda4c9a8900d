// SPDX-License-Identifier: Apache-2.0
//
// Statistics in a whole session: which version they are part of, in which order they may come, and
// what a saved session remembers of the curvature.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "core/optimizers/kfac.h"
#include "core/session/pseudo_testing.h"
#include "core/session/session.h"
#include "core/session/session_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::IsEmpty;

constexpr uint64_t kHistory = 7;
const absl::Time kNow = absl::UnixEpoch() + absl::Hours(1);

SessionConfig ConfigWith(const KfacConfig& kfac, AggregationMode mode) {
  const DecayKind& kind = *FindDecayKind("constant");
  AggregationConfig aggregation;
  aggregation.mode = mode;
  SessionConfig config{
      std::make_shared<const Layout>(
          *Layout::Create({{"w1", {5, 4}}, {"b1", {5}}, {"w2", {3, 5}}, {"rest", {6}}})),
      FindMethod("kfac"), std::make_shared<ConfigOf<KfacConfig>>(kfac),
      Schedule(ConfigOf<RateConfig>({.learning_rate = 0.1}), kind, kind.default_config()),
      ConfigOf<AggregationConfig>(aggregation)};
  config.layers = {{"w1", ConfigOf<LayerConfig>({.bias = "b1"})}, {"w2", ConfigOf<LayerConfig>()}};
  TALWEG_CHECK(config.Resolve().ok());
  return config;
}

KfacConfig Synchronous() {
  KfacConfig kfac;
  kfac.damping = 0.1;
  kfac.refresh = RefreshMode::kSynchronous;
  kfac.refresh_every = 3;
  kfac.refresh_each_until = 2;
  return kfac;
}

// Workers that contribute by name, and a host that runs everything on this thread.
class Driver {
 public:
  explicit Driver(const SessionConfig& config, std::vector<std::string> workers = {"a"}) {
    session_ = std::make_unique<Session>(
        config, kHistory, std::make_shared<Parameters>(config.layout->num_elements()));
    for (const std::string& worker : workers) {
      Join join{worker, ++incarnations_[worker]};
      join.incarnation = incarnations_[worker] = incarnations_.size();
      join.roles = worker == "statistics" ? Roles{Role::kStatistics}
                                          : Roles{Role::kGradient, Role::kStatistics};
      EXPECT_TRUE(session_->Handle(join, kNow).effects.status.ok());
    }
  }

  // A contribution; the same seed gives the same numbers. `rows` 0: no statistics.
  Effects Send(const std::string& worker, uint64_t seed, uint64_t rows, bool has_gradient = true,
               uint64_t sequence = 0, std::optional<uint64_t> base_version = {}) {
    Contribution contribution;
    contribution.history = kHistory;
    contribution.worker = worker;
    contribution.incarnation = incarnations_[worker];
    contribution.sequence = sequence > 0 ? sequence : ++sequences_[worker];
    contribution.base_version = base_version.value_or(session_->version());
    contribution.is_statistics = !has_gradient;
    contribution.ticket = ++last_ticket_;
    ContributionInput input{contribution};
    if (has_gradient) {
      input.gradient = std::make_shared<StagedGradient>(session_->num_elements());
      Fill(*input.gradient, session_->config().group_map, seed);
    }
    if (rows > 0) {
      input.statistics = std::make_shared<StagedStatistics>(
          session_->config().layer_table,
          StatisticsShape{.num_samples = rows, .of_mean_loss = false, .num_rows = {rows, rows}});
      Fill(input.statistics->sent(), input.statistics->map_of_sent(), seed + 1000);
      Work work;
      input.statistics->AddStages(work);
      work.RunHere();
    }
    EXPECT_TRUE(session_
                    ->Prepare(
                        false,
                        [&] { return std::make_shared<Parameters>(session_->num_elements()); },
                        rows > 0)
                    .ok());
    Outcome outcome = session_->Contribute(input, kNow);
    Run(outcome);
    return std::move(outcome.effects);
  }

  // The refresh that the last step asked for comes back; whether its inverses were taken.
  bool InstallRefresh() {
    refresh_->RunHere();
    Outcome outcome = session_->Install(*refresh_, kNow);
    refresh_.reset();
    return !outcome.effects.durable.empty();
  }
  bool has_refresh() const { return refresh_ != nullptr; }

  Session& session() { return *session_; }
  void Replace(std::unique_ptr<Session> session) { session_ = std::move(session); }
  std::vector<float> values() const {
    const absl::Span<const float> span = session_->parameters()->values.span();
    return {span.begin(), span.end()};
  }
  const CurvatureNumbers& report() const { return *session_->last_step()->curvature; }
  const VersionRecord& record() const { return *record_; }

 private:
  static void Fill(StagedGradient& vector, const std::shared_ptr<const GroupMap>& map,
                   uint64_t seed) {
    vector.Begin(map);
    const std::vector<float> values = PseudoVector(seed, vector.size());
    vector.Append({Dtype::kFloat32,
                   {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}});
  }

  void Run(Outcome& outcome) {
    if (outcome.work == nullptr) return;
    outcome.work->RunHere();
    Ended ended = session_->End(*outcome.work, kNow);
    if (ended.effects.made != nullptr) record_ = ended.effects.made;
    if (ended.refresh != nullptr) refresh_ = std::move(ended.refresh);
  }

  std::unique_ptr<Session> session_;
  std::map<std::string, uint64_t> incarnations_, sequences_;
  uint64_t last_ticket_ = 0;
  std::shared_ptr<const VersionRecord> record_;
  std::unique_ptr<InverseRefresh> refresh_;
};

TEST(SessionStatisticsTest, ArePartOfTheVersionThatIsMadeNextAndMakeNone) {
  Driver driver(ConfigWith(Synchronous(), AggregationMode::kSynchronous), {"a", "b", "statistics"});
  const Effects alone = driver.Send("statistics", 1, 8, /*has_gradient=*/false);
  ASSERT_TRUE(alone.answer.has_value());
  EXPECT_EQ(alone.answer->verdict, Verdict::kPending);
  EXPECT_THAT(alone.durable, IsEmpty());
  driver.Send("a", 2, 6);
  EXPECT_EQ(driver.session().version(), 0u);
  driver.Send("b", 3, 0);
  ASSERT_EQ(driver.session().version(), 1u);
  EXPECT_EQ(driver.report().num_statistics, 2u);
  EXPECT_EQ(driver.report().num_samples, 14);
  ASSERT_EQ(driver.record().statistics.size(), 2u);
  EXPECT_EQ(driver.record().statistics[0].worker, "statistics");
  EXPECT_EQ(driver.record().statistics[1].num_samples, 6u);
  EXPECT_EQ(driver.record().inverse_version, 1u);
  // Its sequence is settled with the version that it is part of.
  const Effects again = driver.Send("statistics", 1, 8, false, /*sequence=*/1, /*base_version=*/0);
  ASSERT_TRUE(again.answer.has_value()) << again.status;
  EXPECT_EQ(again.answer->verdict, Verdict::kApplied);
  EXPECT_EQ(again.answer->applied_version, 1u);
  EXPECT_TRUE(again.answer->replayed);
  driver.Send("a", 4, 0);
  driver.Send("b", 5, 0);
  EXPECT_EQ(driver.report().num_statistics, 0u);
  EXPECT_THAT(driver.record().statistics, IsEmpty());
}

TEST(SessionStatisticsTest, ARepeatCountsOnce) {
  Driver driver(ConfigWith(Synchronous(), AggregationMode::kAsynchronous), {"a", "statistics"});
  driver.Send("statistics", 1, 8, false);
  const Effects repeat = driver.Send("statistics", 1, 8, false, 1);
  EXPECT_TRUE(repeat.answer->replayed);
  const Effects other = driver.Send("statistics", 2, 8, false, 1);
  EXPECT_EQ(ReasonName(other.status), "SEQUENCE_REUSED");
  driver.Send("a", 3, 0);
  EXPECT_EQ(driver.report().num_statistics, 1u);
  EXPECT_EQ(driver.report().num_samples, 8);
}

TEST(SessionStatisticsTest, OrderOfArrivalShowsInNoBit) {
  std::vector<std::vector<float>> results;
  std::vector<std::string> order = {"a", "b", "statistics"};
  std::map<std::string, uint64_t> seeds = {{"a", 10}, {"b", 20}, {"statistics", 30}};
  do {
    Driver driver(ConfigWith(Synchronous(), AggregationMode::kSynchronous),
                  {"a", "b", "statistics"});
    for (uint64_t round = 0; round < 5; ++round) {
      // Statistics must come before the round closes.
      std::vector<std::string> now = order;
      if (now.back() == "statistics") std::swap(now[1], now[2]);
      for (const std::string& worker : now) {
        driver.Send(worker, seeds[worker] + 100 * round, 5 + seeds[worker] / 10,
                    worker != "statistics");
      }
      ASSERT_EQ(driver.session().version(), round + 1);
    }
    results.push_back(driver.values());
  } while (std::next_permutation(order.begin(), order.end()));
  ASSERT_EQ(results.size(), 6u);
  for (const auto& result : results) EXPECT_EQ(result, results[0]);
}

TEST(SessionStatisticsTest, SavedLoadedAndContinuedEqualsUninterrupted) {
  Driver driver(ConfigWith(Synchronous(), AggregationMode::kAsynchronous));
  for (uint64_t step = 1; step <= 6; ++step) driver.Send("a", step, step % 2 == 0 ? 0 : 9);
  Driver resumed(ConfigWith(Synchronous(), AggregationMode::kAsynchronous));
  const std::string saved = driver.session().Save();
  auto loaded = Session::Load(saved, kNow);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  resumed.Replace(*std::move(loaded));
  EXPECT_EQ(resumed.session().Save(), saved);
  for (uint64_t step = 7; step <= 14; ++step) {
    driver.Send("a", step, step % 2 == 0 ? 0 : 9, true, step);
    resumed.Send("a", step, step % 2 == 0 ? 0 : 9, true, step);
    ASSERT_EQ(driver.values(), resumed.values()) << step;
    ASSERT_EQ(driver.report().inverse_version, resumed.report().inverse_version);
  }
}

// A refresh that was under way is not part of a saved state: the inverses of before stay in use,
// and the next refresh comes when it is due. From the same records both runs make the same
// versions.
TEST(SessionStatisticsTest, SavedWithARefreshUnderWayItGoesOnWithTheInversesOfBefore) {
  KfacConfig kfac = Synchronous();
  kfac.refresh = RefreshMode::kBackground;
  kfac.refresh_every = 2;
  kfac.refresh_each_until = 0;
  Driver driver(ConfigWith(kfac, AggregationMode::kAsynchronous));
  for (uint64_t step = 1; step <= 3; ++step) driver.Send("a", step, 9);
  ASSERT_TRUE(driver.has_refresh());
  EXPECT_EQ(driver.report().inverse_version, 1u);
  Driver resumed(ConfigWith(kfac, AggregationMode::kAsynchronous));
  resumed.Replace(*Session::Load(driver.session().Save(), kNow));
  driver.Send("a", 4, 0, true, 4);
  resumed.Send("a", 4, 0, true, 4);
  EXPECT_EQ(driver.values(), resumed.values());
  EXPECT_EQ(resumed.report().inverse_version, 1u);
  resumed.Send("a", 5, 9, true, 5);
  EXPECT_TRUE(resumed.has_refresh());
  EXPECT_TRUE(resumed.InstallRefresh());
  resumed.Send("a", 6, 0, true, 6);
  EXPECT_EQ(resumed.report().inverse_version, 5u);
}

TEST(SessionStatisticsTest, AnInstallationIsPartOfTheNextVersionsRecord) {
  KfacConfig kfac = Synchronous();
  kfac.refresh = RefreshMode::kBackground;
  kfac.refresh_every = 1;
  kfac.refresh_each_until = 0;
  Driver driver(ConfigWith(kfac, AggregationMode::kAsynchronous));
  driver.Send("a", 1, 9);
  EXPECT_EQ(driver.record().installed_inverses, 0u);  // the step made them itself
  EXPECT_EQ(driver.record().inverse_version, 1u);
  driver.Send("a", 2, 9);
  ASSERT_TRUE(driver.has_refresh());
  driver.Send("a", 3, 9);
  EXPECT_EQ(driver.record().inverse_version, 1u);
  EXPECT_TRUE(driver.InstallRefresh());
  driver.Send("a", 4, 9);
  EXPECT_EQ(driver.record().installed_inverses, 2u);
  EXPECT_EQ(driver.record().inverse_version, 2u);
  EXPECT_EQ(driver.report().inverse_age_steps, 2u);
  driver.Send("a", 5, 0);
  EXPECT_EQ(driver.record().installed_inverses, 0u);
}

TEST(SessionStatisticsTest, NotFiniteStatisticsAreRefusedWithTheirLayer) {
  Driver driver(ConfigWith(Synchronous(), AggregationMode::kAsynchronous), {"a", "statistics"});
  const auto send = [&](float bad, size_t element) {
    ContributionInput input;
    input.contribution.history = kHistory;
    input.contribution.worker = "statistics";
    input.contribution.incarnation = 2;
    input.contribution.sequence = 1 + element + (std::isnan(bad) ? 1000 : 0);
    input.contribution.is_statistics = true;
    input.contribution.ticket = 5;
    input.statistics = std::make_shared<StagedStatistics>(
        driver.session().config().layer_table,
        StatisticsShape{.num_samples = 3, .of_mean_loss = false, .num_rows = {3, 3}});
    std::vector<float> values = PseudoVector(1, input.statistics->sent().size());
    values[element] = bad;
    input.statistics->sent().Begin(input.statistics->map_of_sent());
    input.statistics->sent().Append(
        {Dtype::kFloat32,
         {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}});
    Work work;
    input.statistics->AddStages(work);
    work.RunHere();
    return driver.session().Contribute(input, kNow).effects;
  };
  // Rows of w1: 3 x 4 inputs and 3 x 5 derivatives; then those of w2.
  for (const auto& [bad, element, layer] :
       {std::tuple(HUGE_VALF, size_t{0}, "w1"), std::tuple(1e30f, size_t{13}, "w1"),
        std::tuple(std::nanf(""), size_t{30}, "w2")}) {
    const Effects effects = send(bad, element);
    ASSERT_TRUE(effects.answer.has_value()) << effects.status;
    EXPECT_EQ(effects.answer->verdict, Verdict::kRejectedNonFinite);
    ASSERT_TRUE(effects.answer->fault.has_value());
    EXPECT_EQ(effects.answer->fault->tensor, layer);
    EXPECT_TRUE(effects.answer->fault->in_statistics);
  }
  driver.Send("a", 3, 0);
  EXPECT_EQ(driver.report().num_statistics, 0u);
  EXPECT_EQ(driver.report().num_layers_without_inverse, 2u);
}

TEST(SessionStatisticsTest, LayersAreCheckedAgainstTheLayout) {
  const auto refused = [](std::vector<NamedLayer> layers) {
    SessionConfig config = ConfigWith(Synchronous(), AggregationMode::kAsynchronous);
    config.layers = std::move(layers);
    return FieldName(config.Resolve());
  };
  const auto with_bias = [](const char* name) { return ConfigOf<LayerConfig>({.bias = name}); };
  EXPECT_EQ(refused({{"w3", {}}}), "layers[0].weight");
  EXPECT_EQ(refused({{"b1", {}}}), "layers[0].weight");
  EXPECT_EQ(refused({{"w1", {}}, {"w1", {}}}), "layers[1].weight");
  EXPECT_EQ(refused({{"w1", with_bias("rest")}}), "layers[0].bias");
  EXPECT_EQ(refused({{"w1", with_bias("w1")}}), "layers[0].bias");
  EXPECT_EQ(refused({{"w1", with_bias("none")}}), "layers[0].bias");
  EXPECT_EQ(refused({{"w1", with_bias("b1")}}), "");
  SessionConfig adam = ConfigWith(Synchronous(), AggregationMode::kAsynchronous);
  adam.method = FindMethod("adam");
  adam.optimizer = adam.method->default_config();
  EXPECT_EQ(FieldName(adam.Resolve()), "layers");
  SessionConfig none = ConfigWith(Synchronous(), AggregationMode::kAsynchronous);
  none.layers.clear();
  ASSERT_TRUE(none.Resolve().ok());
  EXPECT_EQ(ReasonName(none.CheckAsked()), "FIELD_REQUIRED");
  KfacConfig adapting = Synchronous();
  adapting.adapt_every = 5;
  SessionConfig asynchronous = ConfigWith(Synchronous(), AggregationMode::kAsynchronous);
  asynchronous.optimizer = std::make_shared<ConfigOf<KfacConfig>>(adapting);
  EXPECT_EQ(FieldName(asynchronous.Resolve()), "optimizer.kfac.adapt_every");
}

}  // namespace
}  // namespace talweg::core
