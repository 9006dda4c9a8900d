// SPDX-License-Identifier: Apache-2.0
//
// Walks the registry: what is promised here holds for every method that will ever be in it.
#include "core/session/session.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <thread>

#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "core/optimizers/optimizer_testing.h"
#include "core/session/run_series.h"
#include "core/session/session_testing.h"
#include "core/session/staged_gradient.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr uint64_t kHistory = 99;
const absl::Time kNow = absl::UnixEpoch() + absl::Hours(1);

// A few shards and a ragged end.
constexpr uint64_t kElements = 2 * kShard + 3 * kBlock + 517;

// Tensors of many shapes (SpaceOf), and a vector that fills the rest.
SessionConfig ConfigFor(const Method& method, uint64_t num_elements = kElements) {
  RateConfig rate;
  rate.learning_rate = 0.01;
  rate.warmup_steps = 3;
  const DecayKind& kind = *FindDecayKind("inverse_sqrt");
  AggregationConfig aggregation;
  aggregation.max_staleness = 3;
  SessionConfig config{SpaceOf(num_elements).layout, &method, method.default_config(),
                       Schedule(ConfigOf<RateConfig>(rate), kind, kind.default_config()),
                       ConfigOf<AggregationConfig>(aggregation)};
  EXPECT_TRUE(config.Resolve().ok());
  return config;
}

// A deterministic float in [-1, 1) that looks nothing like its neighbours.
float Pseudo(uint64_t seed, uint64_t index) {
  uint64_t x = seed * 0x9e3779b97f4a7c15 + index * 0xbf58476d1ce4e5b9 + 1;
  x ^= x >> 29;
  x *= 0x94d049bb133111eb;
  x ^= x >> 32;
  return static_cast<float>(static_cast<int64_t>(x) >> 40) / static_cast<float>(1 << 23);
}

std::vector<float> Vector(uint64_t seed, uint64_t size) {
  std::vector<float> values(size);
  for (uint64_t index = 0; index < size; ++index) values[index] = Pseudo(seed, index);
  return values;
}

std::vector<float> CopyOf(const Parameters& parameters) {
  return {parameters.values.span().begin(), parameters.values.span().end()};
}

std::unique_ptr<Session> Make(const SessionConfig& config) {
  const uint64_t num_elements = config.layout->num_elements();
  auto initial = std::make_shared<Parameters>(num_elements);
  const std::vector<float> values = Vector(1, num_elements);
  std::copy(values.begin(), values.end(), initial->values.data());
  auto session = std::make_unique<Session>(config, kHistory, initial);
  EXPECT_TRUE(session->Handle(Join{"a", 1}, kNow).effects.status.ok());
  return session;
}

std::unique_ptr<Session> Make(const Method& method, uint64_t num_elements = kElements) {
  return Make(ConfigFor(method, num_elements));
}

enum class Order { kForward, kBackward, kThreads };

// Runs a work, each stage's pieces in `order`.
void RunStages(Work& work, Order order) {
  for (size_t stage = 0; stage < work.NumStages(); ++stage) {
    work.BeginStage(stage);
    const size_t num_pieces = work.NumPieces(stage);
    std::vector<std::thread> threads;
    for (size_t index = 0; index < num_pieces; ++index) {
      const size_t chosen = order == Order::kBackward ? num_pieces - 1 - index : index;
      if (order == Order::kThreads) {
        threads.emplace_back([&work, stage, chosen] { work.RunPiece(stage, chosen); });
      } else {
        work.RunPiece(stage, chosen);
      }
    }
    for (std::thread& thread : threads) thread.join();
    work.EndStage(stage);
  }
}

// Contributes `gradient` at the current version, under the next sequence.
Answer Contribute(Session& session, uint64_t sequence, const std::vector<float>& gradient,
                  Order order = Order::kForward) {
  StagedGradient staged(gradient.size());
  staged.Begin(session.config().group_map);
  staged.Stage({0, gradient.size()}, Dtype::kFloat32,
               reinterpret_cast<const char*>(gradient.data()));
  Contribution contribution;
  contribution.history = kHistory;
  contribution.worker = "a";
  contribution.incarnation = 1;
  contribution.sequence = sequence;
  contribution.base_version = session.machine().version();
  contribution.ticket = sequence;
  ContributionInput input{contribution};
  input.gradient = Borrow(staged);
  input.returns_gradient = true;
  const Contributed done = ContributeAndRun(session, std::move(input), kNow,
                                            [order](Work& work) { RunStages(work, order); });
  EXPECT_TRUE(done.judged.fold || done.judged.step.has_value());
  return done.judged.answer.has_value() ? *done.judged.answer
                                        : done.ended.effects.released.front().answer;
}

// Takes the step that makes the next version.
Answer Step(Session& session, Order order = Order::kForward) {
  const uint64_t version = session.machine().version();
  return Contribute(session, version + 1, Vector(100 + version, session.num_elements()), order);
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

TEST_P(EveryMethodTest, ThreadsAndOrderOfShardsDoNotChangeABit) {
  const auto forward = Make(GetParam());
  const auto backward = Make(GetParam());
  const auto threads = Make(GetParam());
  for (int step = 0; step < 3; ++step) {
    Step(*forward, Order::kForward);
    Step(*backward, Order::kBackward);
    Step(*threads, Order::kThreads);
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
  const std::vector<float> sent = Vector(100, kElements);
  for (size_t index = 0; index < kElements; ++index) {
    const double moved = double{after->values.data()[index]} - before->values.data()[index];
    update += moved * moved;
    gradient += double{sent[index]} * sent[index];
  }
  EXPECT_GT(update, 0);
  EXPECT_NEAR(answer.report->update_norm, std::sqrt(update), 1e-6 * std::sqrt(update));
  EXPECT_NEAR(answer.report->gradient_norm, std::sqrt(gradient), 1e-12 * std::sqrt(gradient));
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
  // Names, sizes and kinds are held against what they must be; only values may differ unnoticed.
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

// ---- what is done to a gradient, and who is stepped how ----

std::vector<float> Values(const Session& session) {
  const auto span = session.parameters()->values.span();
  return {span.begin(), span.end()};
}

GroupConfig Group(const std::function<void(GroupConfig&)>& set) {
  GroupConfig config;
  set(config);
  return config;
}

// A session with every setting at once: groups, clipping, decay, an average.
SessionConfig FullConfig(const Method& method) {
  SessionConfig config = ConfigFor(method);
  config.clipping = ConfigOf<ClippingConfig>({.max_norm = 40, .max_value = 0.5});
  config.weight_decay = ConfigOf<WeightDecayConfig>({.coupled = 0.02, .decoupled = 0.05});
  config.average = ConfigOf<WeightAverageConfig>({.decay = 0.75});
  config.groups = {{"t1", ConfigOf<GroupConfig>(Group([](auto& c) { c.frozen = true; }))},
                   {"t3", ConfigOf<GroupConfig>(Group([](auto& c) {
                      c.learning_rate_factor = 0.25;
                      c.decay_factor = 0;
                      c.max_norm = 3;
                      c.max_value = 0.125;
                    }))},
                   {"t6", ConfigOf<GroupConfig>(Group([&](auto& c) {
                      c.fallback = method.FindRole("fallback").has_value();
                    }))}};
  EXPECT_TRUE(config.Resolve().ok());
  return config;
}

TEST_P(EveryMethodTest, EverySettingSurvivesSaveAndLoadBitForBit) {
  const auto uninterrupted = Make(FullConfig(GetParam()));
  const auto stopped = Make(FullConfig(GetParam()));
  for (int step = 0; step < 6; ++step) Step(*uninterrupted, Order::kThreads);
  for (int step = 0; step < 3; ++step) Step(*stopped);
  const std::string bytes = stopped->Save();
  const auto resumed = Session::Load(bytes, kNow);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ((*resumed)->Save(), bytes);
  for (int step = 0; step < 3; ++step) Step(**resumed, Order::kBackward);
  EXPECT_EQ((*resumed)->Save(), uninterrupted->Save());
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

TEST(SessionTest, GradientIsClippedByNormThenByValueThenDecayed) {
  const SessionConfig config = FullConfig(*FindMethod("gradient_descent"));
  const auto session = Make(config);
  const std::vector<float> before = Values(*session);
  const std::vector<float> gradient = Vector(100, kElements);
  const Answer answer = Step(*session);
  const std::vector<float> after = Values(*session);
  const Layout& layout = *config.layout;

  std::vector<size_t> group_of(kElements);
  double shared = 0;
  double own = 0;
  for (size_t tensor = 0; tensor < layout.tensors().size(); ++tensor) {
    const std::string& name = layout.tensors()[tensor].name;
    for (uint64_t i = 0; i < layout.size_of(tensor); ++i) {
      const uint64_t index = layout.offsets()[tensor] + i;
      group_of[index] = name == "t1" ? 1 : name == "t3" ? 2 : 0;
      const double square = double{gradient[index]} * gradient[index];
      if (group_of[index] == 0) shared += square;
      if (group_of[index] == 2) own += square;
    }
  }
  EXPECT_NEAR(answer.report->gradient_norm, std::sqrt(shared + own), 1e-9);
  const double shared_factor = std::min(1.0, 40 / (std::sqrt(shared) + 1e-6));
  const double own_factor = std::min(1.0, 3 / (std::sqrt(own) + 1e-6));
  ASSERT_LT(shared_factor, 1);
  ASSERT_LT(own_factor, 1);
  EXPECT_NEAR(answer.report->clip_factor, std::min(shared_factor, own_factor), 1e-12);
  const double eta = answer.report->learning_rate;
  for (size_t i = 0; i < kElements; ++i) {
    double expected = before[i];
    if (group_of[i] == 0) {
      const double g = std::clamp(gradient[i] * shared_factor, -0.5, 0.5) + 0.02 * before[i];
      expected = before[i] * (1 - eta * 0.05) - eta * g;
    } else if (group_of[i] == 2) {
      expected = before[i] - eta * 0.25 * std::clamp(gradient[i] * own_factor, -0.125, 0.125);
    }
    ASSERT_NEAR(after[i], expected, 2e-7) << i;
  }
}

TEST(SessionTest, AverageFollowsTheParameters) {
  const auto session = Make(FullConfig(*FindMethod("gradient_descent")));
  const std::vector<float> initial = Values(*session);
  std::vector<double> expected(initial.begin(), initial.end());
  std::vector<float> read(kElements);
  for (int step = 0; step < 3; ++step) {
    Step(*session);
    const std::vector<float> now = Values(*session);
    for (size_t i = 0; i < kElements; ++i) expected[i] = 0.75 * expected[i] + 0.25 * now[i];
  }
  ASSERT_FALSE(session->IsParameters(Session::Point::kAverage));
  read = CopyOf(*ReadHere(*session, Session::Point::kAverage));
  for (size_t i = 0; i < kElements; ++i) ASSERT_NEAR(read[i], expected[i], 1e-6) << i;
  const auto plain = Make(*FindMethod("gradient_descent"));
  EXPECT_TRUE(plain->IsParameters(Session::Point::kAverage));
  EXPECT_TRUE(plain->IsParameters(Session::Point::kLookahead));
}

TEST(SessionTest, LookaheadGoesAheadByEachGroupsRateAndLeavesTheFrozen) {
  const SessionConfig frozen = FullConfig(*FindMethod("nesterov"));
  SessionConfig config = frozen;
  config.groups[0].config = {};
  const auto session = Make(config);
  ASSERT_FALSE(session->IsParameters(Session::Point::kLookahead));
  const std::vector<float> before = Values(*session);
  const double eta = Step(*session).report->learning_rate;
  const double next_eta = session->NextLearningRate();
  ASSERT_GT(next_eta, eta);  // warm-up
  // Frozen once it has momentum.
  ASSERT_TRUE(session->Reconfigure(0, frozen, kNow).effects.status.ok());
  const std::vector<float> after = Values(*session);
  std::vector<float> point(kElements);
  point = CopyOf(*ReadHere(*session, Session::Point::kLookahead));
  EXPECT_EQ(Values(*session), after);
  const Layout& layout = *session->config().layout;
  for (size_t tensor = 0; tensor < layout.tensors().size(); ++tensor) {
    const std::string& name = layout.tensors()[tensor].name;
    const double rate_factor = name == "t3" ? 0.25 : 1;
    const double decay = name == "t3" ? 0 : 0.05;
    for (uint64_t i = 0; i < layout.size_of(tensor); ++i) {
      const uint64_t index = layout.offsets()[tensor] + i;
      if (name == "t1") {
        ASSERT_EQ(point[index], after[index]) << index;
        continue;
      }
      // What the step moved, without its decay, was eta m.
      const double moved = before[index] * (1 - eta * rate_factor * decay) - after[index];
      ASSERT_NEAR(point[index], after[index] - 0.9 * next_eta / eta * moved, 5e-7) << index;
    }
  }
  EXPECT_NE(point, after);
}

TEST(SessionTest, SlowAverageOfFrozenParametersStaysWhereItIs) {
  SessionConfig config = ConfigFor(*FindMethod("gradient_descent"), 100);
  config.average = ConfigOf<WeightAverageConfig>({.decay = 0.999999});
  config.groups = {{"*", ConfigOf<GroupConfig>(Group([](auto& c) { c.frozen = true; }))}};
  ASSERT_TRUE(config.Resolve().ok());
  const auto session = Make(config);
  for (int step = 0; step < 1000; ++step) Step(*session);
  std::vector<float> read(100);
  read = CopyOf(*ReadHere(*session, Session::Point::kAverage));
  EXPECT_EQ(read, Values(*session));
}

TEST(SessionTest, FactorsThatOverflowGiveTheLargestStepAndNoNan) {
  SessionConfig config = ConfigFor(*FindMethod("gradient_descent"), 100);
  RateConfig rate;
  rate.learning_rate = 1e300;
  const DecayKind& constant = *FindDecayKind("constant");
  config.schedule = Schedule(ConfigOf<RateConfig>(rate), constant, constant.default_config());
  config.groups = {
      {"*", ConfigOf<GroupConfig>(Group([](auto& c) { c.learning_rate_factor = 1e300; }))}};
  ASSERT_TRUE(config.Resolve().ok());
  const auto session = Make(config);
  const std::vector<float> before = Values(*session);
  Contribute(*session, 1, std::vector<float>(100, 0.0f));
  EXPECT_EQ(Values(*session), before);
  config = ConfigFor(*FindMethod("gradient_descent"), 100);
  config.weight_decay = ConfigOf<WeightDecayConfig>({.coupled = 0, .decoupled = 1e300});
  config.groups = {{"*", ConfigOf<GroupConfig>(Group([](auto& c) {
                      c.decay_factor = 1e300;
                      c.learning_rate_factor = 0;
                    }))}};
  ASSERT_TRUE(config.Resolve().ok());
  const auto still = Make(config);
  Step(*still);
  EXPECT_EQ(Values(*still), before);
}

TEST(SessionTest, GroupsAreChargedWithWhatTheyTake) {
  SessionConfig config = ConfigFor(*FindMethod("adam"));
  const uint64_t plain = config.MemoryBytes();
  config.groups = {{std::string(200, '*'), {}}};
  ASSERT_TRUE(config.Resolve().ok());
  EXPECT_GE(config.MemoryBytes(), plain + 200 + sizeof(ParameterGroup));
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
      const std::vector<float> gradient = Vector(7 * sequence + 3, kElements);
      for (size_t i = 0; i < kElements; ++i) sum[i] += gradient[i];
      answer = Contribute(*accumulating, ++sequence, gradient, Order::kThreads);
      EXPECT_EQ(answer.verdict, part < 2 ? Verdict::kPending : Verdict::kApplied);
      EXPECT_EQ(answer.applied_version, static_cast<uint64_t>(version + 1));
    }
    EXPECT_EQ(answer.report->contributors, 3u);
    for (size_t i = 0; i < kElements; ++i) mean[i] = static_cast<float>(sum[i] / 3);
    Contribute(*reference, static_cast<uint64_t>(version + 1), mean);
    EXPECT_EQ(Values(*accumulating), Values(*reference));
  }
}

TEST(SessionTest, GroupsThatChangeBetweenStagingAndStepAreMeasuredAnew) {
  const auto session = Make(*FindMethod("gradient_descent"));
  const std::vector<float> gradient = Vector(100, kElements);
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

TEST(SessionConfigTest, GroupThatTakesNothingIsRefused) {
  SessionConfig config = ConfigFor(*FindMethod("adam"));
  config.groups = {{"t*", {}}, {"t1", {}}};
  EXPECT_EQ(FieldName(config.Resolve()), "groups[1].tensors");
  config.groups = {{"nothing", {}}};
  EXPECT_EQ(FieldName(config.Resolve()), "groups[0].tensors");
  EXPECT_EQ(ReasonName(config.Resolve()), "FIELD_OUT_OF_RANGE");
  config.groups = {{"t1", ConfigOf<GroupConfig>(Group([](auto& c) { c.fallback = true; }))}};
  EXPECT_EQ(FieldName(config.Resolve()), "groups[0].fallback");
}

// A map of three groups that blocks cut anywhere.
std::shared_ptr<const GroupMap> MapOf(const Layout& layout) {
  const std::vector<ParameterGroup> groups = {{"t3", {}}, {"t1", {}}};
  return std::make_shared<const GroupMap>(*GroupMap::Create(layout, groups));
}

TEST(StagedGradientTest, MeasuresDoNotDependOnTheCut) {
  const std::vector<float> gradient = Vector(5, kElements);
  const char* bytes = reinterpret_cast<const char*>(gradient.data());
  StagedGradient by_shard(kElements);
  StagedGradient by_block(kElements);
  by_shard.Begin(MapOf(*SpaceOf(kElements).layout));
  by_block.Begin(MapOf(*SpaceOf(kElements).layout));
  for (size_t index = NumShards(kElements); index-- > 0;) {
    const Shard shard = ShardAt(index, kElements);
    by_shard.Stage(shard, Dtype::kFloat32, bytes + 4 * shard.begin);
  }
  for (size_t index = 0; index < NumBlocks(kElements); ++index) {
    const Shard block = ShardAt(index, kElements, kBlock);
    by_block.Stage(block, Dtype::kFloat32, bytes + 4 * block.begin);
  }
  EXPECT_EQ(by_shard.SquaredNorms(), by_block.SquaredNorms());
  EXPECT_EQ(by_shard.Digest(), by_block.Digest());
  EXPECT_TRUE(by_shard.finite());
}

TEST(StagedGradientTest, NormsAreThoseOfTheGroups) {
  const auto layout = SpaceOf(kElements).layout;
  const std::vector<float> gradient = Vector(5, kElements);
  StagedGradient staged(kElements);
  staged.Begin(MapOf(*layout));
  staged.Stage({0, kElements}, Dtype::kFloat32, reinterpret_cast<const char*>(gradient.data()));
  std::vector<double> expected(3);
  for (size_t tensor = 0; tensor < layout->tensors().size(); ++tensor) {
    const std::string& name = layout->tensors()[tensor].name;
    const size_t group = name == "t3" ? 1 : name == "t1" ? 2 : 0;
    for (uint64_t i = 0; i < layout->size_of(tensor); ++i) {
      const double value = gradient[layout->offsets()[tensor] + i];
      expected[group] += value * value;
    }
  }
  ASSERT_EQ(staged.SquaredNorms().size(), 3u);
  for (size_t group = 0; group < 3; ++group) {
    EXPECT_NEAR(staged.SquaredNorms()[group], expected[group], 1e-12 * expected[group]);
  }
}

TEST(StagedGradientTest, OneBadElementAnywhereIsSeen) {
  const auto map = MapOf(*SpaceOf(kElements).layout);
  for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    for (const size_t where : {size_t{0}, kBlock - 1, kBlock, size_t{kElements} - 1}) {
      std::vector<float> gradient = Vector(5, kElements);
      gradient[where] = bad;
      StagedGradient staged(kElements);
      staged.Begin(map);
      staged.Stage({0, kElements}, Dtype::kFloat32, reinterpret_cast<const char*>(gradient.data()));
      EXPECT_FALSE(staged.finite()) << bad << " at " << where;
    }
  }
  // The largest floats are finite, all of them together too.
  const std::vector<float> large(kElements, 3.4028235e38f);
  StagedGradient staged(kElements);
  staged.Begin(map);
  staged.Stage({0, kElements}, Dtype::kFloat32, reinterpret_cast<const char*>(large.data()));
  EXPECT_TRUE(staged.finite());
}

TEST(StagedGradientTest, UnalignedBytesAreTaken) {
  const std::vector<float> gradient = Vector(5, 1003);
  std::string bytes(1, 'x');
  bytes.append(reinterpret_cast<const char*>(gradient.data()), gradient.size() * sizeof(float));
  StagedGradient staged(gradient.size());
  staged.Begin(MapOf(*SpaceOf(kElements).layout));
  staged.Stage({0, gradient.size()}, Dtype::kFloat32, bytes.data() + 1);
  EXPECT_EQ(std::memcmp(staged.values().data(), gradient.data(), bytes.size() - 1), 0);
}

TEST(StagedGradientTest, EveryPartOfThePayloadCounts) {
  const uint32_t digest = PayloadDigest(1, 2, {0.5});
  EXPECT_EQ(digest, PayloadDigest(1, 2, {0.5}));
  EXPECT_NE(digest, PayloadDigest(2, 2, {0.5}));
  EXPECT_NE(digest, PayloadDigest(1, 3, {0.5}));
  EXPECT_NE(digest, PayloadDigest(1, 2, {0.25}));
  EXPECT_NE(digest, PayloadDigest(1, 2, {}));
  EXPECT_NE(PayloadDigest(1, 2, {0.0}), PayloadDigest(1, 2, {}));
  EXPECT_NE(digest, PayloadDigest(1, 2, {0.5}, 2));
  EXPECT_NE(digest, PayloadDigest(1, 2, {0.5}, 1, true));
}

}  // namespace
}  // namespace talweg::core
