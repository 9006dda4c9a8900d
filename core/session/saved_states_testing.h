// SPDX-License-Identifier: Apache-2.0
//
// For tests only: the sessions whose states are checked in (testdata/). Each is a configuration and
// a story: what happens before the state is saved, and what happens after it was loaded.
//
// tests/golden/save_states.cc told the stories to the version that wrote the states;
// saved_state_test tells them again to this version. The stories must therefore not change.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/check.h"
#include "core/session/pseudo_testing.h"
#include "core/session/session.h"
#include "core/session/session_testing.h"
#include "core/session/staged_gradient.h"

namespace talweg::core {

inline constexpr uint64_t kSavedHistory = 0x1122334455667788;
inline const absl::Time kSavedTime = absl::UnixEpoch() + absl::Hours(1);

// A session, and what its workers remember of themselves. The next gradient, loss and weight follow
// from how many contributions there were.
class StoryTeller {
 public:
  // `statistics_worker` joins with the role of statistics alone, if a story asks for it.
  StoryTeller(const SessionConfig& config, Join statistics_worker)
      : statistics_worker_(std::move(statistics_worker)) {
    const uint64_t size = config.layout->num_elements();
    auto initial = std::make_shared<Parameters>(size);
    const std::vector<float> values = PseudoVector(1, size);
    std::copy(values.begin(), values.end(), initial->values.data());
    session_ = std::make_unique<Session>(config, kSavedHistory, std::move(initial));
  }

  Session& session() { return *session_; }
  // The story continues with another session that has the same state.
  void Replace(std::unique_ptr<Session> session) { session_ = std::move(session); }

  void Joins(const std::string& worker) {
    incarnations_[worker] = ++last_incarnation_;
    TALWEG_CHECK(session_->Handle(Join{worker, last_incarnation_}, kSavedTime).effects.status.ok());
  }

  void StatisticsWorkerJoins() {
    statistics_worker_.incarnation = ++last_incarnation_;
    TALWEG_CHECK(session_->Handle(statistics_worker_, kSavedTime).effects.status.ok());
  }

  // `worker` contributes at the version `staleness` versions ago, and what follows happens.
  void Contributes(const std::string& worker, uint64_t staleness = 0, bool finite = true) {
    Sent& sent = last_[worker];
    sent.contribution.sequence += 1;
    sent.seed = 100 + ++num_contributions_;
    sent.finite = finite;
    sent.contribution.history = kSavedHistory;
    sent.contribution.worker = worker;
    sent.contribution.incarnation = incarnations_[worker];
    sent.contribution.base_version = session_->machine().version() - staleness;
    sent.contribution.loss = 1.0 / static_cast<double>(num_contributions_);
    sent.contribution.weight = std::ldexp(1.0f, static_cast<int>(num_contributions_ % 4) - 1);
    Repeats(worker);
  }

  // `worker` sends its last contribution again. Returns what the machine decided.
  Effects Repeats(const std::string& worker) {
    Sent& sent = last_[worker];
    std::vector<float> gradient = PseudoVector(sent.seed, session_->num_elements());
    if (!sent.finite) gradient[0] = HUGE_VALF;
    StagedGradient staged(gradient.size());
    staged.Begin(session_->config().group_map);
    staged.Stage({0, gradient.size()}, Dtype::kFloat32,
                 reinterpret_cast<const char*>(gradient.data()));
    sent.contribution.ticket = ++last_ticket_;
    ContributionInput input{sent.contribution, {*sent.contribution.loss}};
    input.gradient = Borrow(staged);
    input.returns_gradient = true;
    Contributed contributed = ContributeAndRun(*session_, std::move(input), kSavedTime);
    TALWEG_CHECK(contributed.judged.status.ok());
    return std::move(contributed.judged);
  }

 private:
  struct Sent {
    Contribution contribution;
    uint64_t seed = 0;
    bool finite = true;
  };

  std::unique_ptr<Session> session_;
  Join statistics_worker_;
  uint64_t last_incarnation_ = 0;
  uint64_t last_ticket_ = 0;
  uint64_t num_contributions_ = 0;
  std::map<std::string, uint64_t> incarnations_;
  std::map<std::string, Sent> last_;
};

struct SavedStory {
  const char* name;                  // The state's file is testdata/state_3_<name>.bin.
  std::vector<std::string> workers;  // that have a remembered answer when the state is saved
  SessionConfig (*config)();
  void (*before)(StoryTeller& teller);  // until the state is saved
  void (*after)(StoryTeller& teller);   // Makes two more versions.
};

namespace saved {

template <class C>
std::shared_ptr<const Config> With(const C& value) {
  return std::make_shared<const ConfigOf<C>>(value);
}

inline std::shared_ptr<const Config> WithFields(
    std::unique_ptr<Config> config, const std::vector<std::pair<std::string, FieldValue>>& fields) {
  for (const auto& [name, value] : fields) TALWEG_CHECK(config->Set(name, value).ok());
  TALWEG_CHECK(config->Validate().ok());
  return config;
}

using Fields = std::vector<std::pair<std::string, FieldValue>>;

inline SessionConfig Make(std::vector<TensorSpec> tensors, const char* method,
                          const Fields& optimizer, const RateConfig& rate, const char* decay,
                          const Fields& decay_fields, const AggregationConfig& aggregation) {
  TALWEG_CHECK(aggregation.Validate().ok());
  const DecayKind& kind = *FindDecayKind(decay);
  return {
      std::make_shared<const Layout>(*Layout::Create(std::move(tensors))), FindMethod(method),
      WithFields(FindMethod(method)->default_config(), optimizer),
      Schedule(ConfigOf<RateConfig>(rate), kind, WithFields(kind.default_config(), decay_fields)),
      ConfigOf<AggregationConfig>(aggregation)};
}

inline SessionConfig Resolved(SessionConfig config) {
  TALWEG_CHECK(config.Resolve().ok());
  return config;
}

// Asynchronous Adam with a warm-up of one step and cosine, changed once while it ran; a stale
// contribution, and a refused one.
inline SessionConfig AdamConfigOfStory() {
  AggregationConfig aggregation;
  aggregation.max_staleness = 3;
  aggregation.lease_seconds = 60;
  return Resolved(
      Make({{"scale", {}}, {"w", {3, 4}}, {"b", {4}}}, "adam",
           {{"beta1", FieldValue(0.8)}, {"dialect", FieldValue(Dialect::kKeras)}},
           {.learning_rate = 0.05, .warmup_steps = 1}, "cosine",
           {{"total_steps", FieldValue(uint64_t{20})}, {"final_fraction", FieldValue(0.1)}},
           aggregation));
}

inline void AdamBefore(StoryTeller& teller) {
  teller.Joins("a");
  for (int step = 0; step < 4; ++step) teller.Contributes("a");
  SessionConfig slower = teller.session().config();
  slower.schedule = Schedule(ConfigOf<RateConfig>({.learning_rate = 0.03, .warmup_steps = 1}),
                             slower.schedule.kind(),
                             std::shared_ptr<const Config>(slower.schedule.decay_config().Clone()));
  TALWEG_CHECK(teller.session().Reconfigure(0, slower, kSavedTime).effects.status.ok());
  teller.Joins("b");
  teller.Contributes("b", /*staleness=*/2);
  teller.Contributes("a", /*staleness=*/0, /*finite=*/false);
}

inline void AdamAfter(StoryTeller& teller) {
  teller.Contributes("a", /*staleness=*/1);
  teller.Contributes("b");
}

// Muon with everything else that a step has: groups, clipping, decay, an average. The rate of the
// matrix is 0: it has its momentum, but no parameter depends on which kernels BLAS chooses.
inline SessionConfig MuonConfigOfStory() {
  SessionConfig config =
      Make({{"matrix", {4, 3}}, {"head", {3, 4}}, {"bias", {5}}, {"rest", {2, 2}}}, "muon",
           {{"fallback_beta2", FieldValue(0.9)}}, {.learning_rate = 0.02}, "inverse_sqrt", {}, {});
  config.clipping = ConfigOf<ClippingConfig>({.max_norm = 2, .max_value = 0.5});
  config.weight_decay = ConfigOf<WeightDecayConfig>({.coupled = 0.01, .decoupled = 0.05});
  config.average = ConfigOf<WeightAverageConfig>({.decay = 0.75});
  GroupConfig matrix, head, bias, rest;
  matrix.learning_rate_factor = 0;
  head.fallback = true;
  bias.decay_factor = 0;
  bias.max_norm = 0.75;
  bias.max_value = 0.375;
  rest.frozen = true;
  config.groups = {{"matrix", ConfigOf<GroupConfig>(matrix)},
                   {"he*", ConfigOf<GroupConfig>(head)},
                   {"bias", ConfigOf<GroupConfig>(bias)},
                   {"*", ConfigOf<GroupConfig>(rest)}};
  return Resolved(std::move(config));
}

inline void MuonBefore(StoryTeller& teller) {
  teller.Joins("a");
  for (int step = 0; step < 3; ++step) teller.Contributes("a");
}

inline void MuonAfter(StoryTeller& teller) {
  teller.Contributes("a");
  teller.Contributes("a");
}

// Rounds of two of three workers, beside a worker with the role of statistics alone. One of the
// three is refused, and late. When the state is saved, a contribution is pending; the state forgets
// it.
inline SessionConfig SynchronousConfigOfStory() {
  AggregationConfig aggregation;
  aggregation.mode = AggregationMode::kSynchronous;
  aggregation.close = CloseRule::kCount;
  aggregation.close_count = 2;
  aggregation.too_few = TooFew::kClose;
  aggregation.progress_seconds = 2.5;
  aggregation.max_workers = 8;
  aggregation.max_staleness = 1;
  aggregation.stale_scale = StaleScale::kInverse;
  return Resolved(Make({{"w", {2, 5}}}, "momentum", {{"beta", FieldValue(0.5)}},
                       {.learning_rate = 0.1, .warmup_steps = 1}, "step",
                       {{"period_steps", FieldValue(uint64_t{3})}, {"factor", FieldValue(0.5)}},
                       aggregation));
}

inline void SynchronousBefore(StoryTeller& teller) {
  for (const char* worker : {"w0", "w1", "w2"}) teller.Joins(worker);
  teller.StatisticsWorkerJoins();
  for (int round = 0; round < 2; ++round) {
    teller.Contributes("w0");
    teller.Contributes("w1", /*staleness=*/round);
  }
  teller.Contributes("w2", /*staleness=*/2);
  teller.Contributes("w0");
  teller.Contributes("w1");
  teller.Contributes("w0");
}

inline void SynchronousAfter(StoryTeller& teller) {
  teller.Repeats("w0");
  teller.Contributes("w2");
  teller.Contributes("w0");
  teller.Contributes("w1");
}

// Workers that are ahead of each other by at most two verdicts.
inline SessionConfig BoundedConfigOfStory() {
  AggregationConfig aggregation;
  aggregation.mode = AggregationMode::kBoundedStaleness;
  aggregation.max_rounds_ahead = 2;
  return Resolved(
      Make({{"a", {3}}, {"b", {2, 2}}, {"c", {}}}, "rmsprop", {{"centered", FieldValue(true)}},
           {.learning_rate = 0.01}, "polynomial",
           {{"total_steps", FieldValue(uint64_t{30})}, {"power", FieldValue(uint64_t{2})}},
           aggregation));
}

inline void BoundedBefore(StoryTeller& teller) {
  for (const char* worker : {"x", "y", "z"}) teller.Joins(worker);
  for (const char* worker : {"x", "y", "z", "x", "x", "y"}) {
    teller.Contributes(worker, teller.session().machine().version() > 1 ? 1 : 0);
  }
}

inline void BoundedAfter(StoryTeller& teller) {
  teller.Contributes("z", /*staleness=*/3);
  teller.Contributes("y");
}

}  // namespace saved

// The bytes of a file of testdata/. saved_state_test.cc has the function.
std::string ReadTestdata(const std::string& name);

// The bytes of a checked-in state.
inline std::string StateOf(const SavedStory& story) {
  return ReadTestdata(absl::StrCat("state_3_", story.name, ".bin"));
}

inline std::vector<SavedStory> SavedStories() {
  return {
      {"adam", {"a", "b"}, saved::AdamConfigOfStory, saved::AdamBefore, saved::AdamAfter},
      {"muon", {"a"}, saved::MuonConfigOfStory, saved::MuonBefore, saved::MuonAfter},
      {"synchronous",
       {"w1", "w2"},
       saved::SynchronousConfigOfStory,
       saved::SynchronousBefore,
       saved::SynchronousAfter},
      {"bounded",
       {"x", "y", "z"},
       saved::BoundedConfigOfStory,
       saved::BoundedBefore,
       saved::BoundedAfter},
  };
}

inline SavedStory StoryNamed(absl::string_view name) {
  for (const SavedStory& story : SavedStories()) {
    if (story.name == name) return story;
  }
  CheckFailed(__FILE__, __LINE__, "a story has this name");
}

inline SessionConfig StoryConfig(absl::string_view name) { return StoryNamed(name).config(); }

// A session that searches, which no version that wrote the states could: every section says
// something.
inline SessionConfig SearchingConfig() {
  SessionConfig config = StoryConfig("muon");
  SearchConfig search;
  search.method = SearchMethod::kEvolutionStrategy;
  config.search = ConfigOf<SearchConfig>(search);
  return saved::Resolved(std::move(config));
}

}  // namespace talweg::core
