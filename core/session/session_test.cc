// SPDX-License-Identifier: Apache-2.0
//
// Walks the registry: what is promised here holds for every method that will ever be in it.
#include "core/session/session.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <thread>

#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "core/session/staged_gradient.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr uint64_t kHistory = 99;
const absl::Time kNow = absl::UnixEpoch() + absl::Hours(1);

// A few shards and a ragged end.
constexpr uint64_t kElements = 2 * kShard + 3 * kBlock + 517;

SessionConfig ConfigFor(const Method& method, uint64_t num_elements = kElements) {
  RateConfig rate;
  rate.learning_rate = 0.01;
  rate.warmup_steps = 3;
  const DecayKind& kind = *FindDecayKind("inverse_sqrt");
  AggregationConfig aggregation;
  aggregation.max_staleness = 3;
  return SessionConfig{
      std::make_shared<const Layout>(*Layout::Create({{"w", {num_elements - 1}}, {"scale", {}}})),
      &method, method.default_config(),
      Schedule(ConfigOf<RateConfig>(rate), kind, kind.default_config()),
      ConfigOf<AggregationConfig>(aggregation)};
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

std::unique_ptr<Session> Make(const Method& method, uint64_t num_elements = kElements) {
  auto initial = std::make_shared<Parameters>(num_elements);
  const std::vector<float> values = Vector(1, num_elements);
  std::copy(values.begin(), values.end(), initial->values.data());
  auto session = std::make_unique<Session>(ConfigFor(method, num_elements), kHistory, initial);
  EXPECT_TRUE(session->Handle(Join{"a", 1}, kNow).status.ok());
  return session;
}

enum class Order { kForward, kBackward, kThreads };

// Takes the step that makes the next version.
Answer Step(Session& session, Order order = Order::kForward) {
  const uint64_t version = session.machine().version();
  const std::vector<float> gradient = Vector(100 + version, session.num_elements());
  StagedGradient staged(gradient.size());
  const char* bytes = reinterpret_cast<const char*>(gradient.data());
  const size_t num_shards = NumShards(gradient.size());
  for (size_t index = 0; index < num_shards; ++index) {
    staged.Stage(ShardAt(index, gradient.size()), bytes);
  }
  const GradientFacts facts = staged.Facts();
  Contribution contribution;
  contribution.history = kHistory;
  contribution.worker = "a";
  contribution.incarnation = 1;
  contribution.sequence = version + 1;
  contribution.base_version = version;
  contribution.finite = facts.finite;
  contribution.gradient_norm = facts.norm;
  contribution.digest = PayloadDigest(facts.digest, version, {});
  const Effects effects = session.Handle(contribution, kNow);
  EXPECT_TRUE(effects.step.has_value());
  session.BeginStep(*effects.step, std::make_shared<Parameters>(session.num_elements()));
  std::vector<std::thread> threads;
  for (size_t index = 0; index < num_shards; ++index) {
    const size_t chosen = order == Order::kBackward ? num_shards - 1 - index : index;
    if (order == Order::kThreads) {
      threads.emplace_back([&, chosen] { session.ApplyShard(chosen, staged.values()); });
    } else {
      session.ApplyShard(chosen, staged.values());
    }
  }
  for (std::thread& thread : threads) thread.join();
  return *session.EndStep(kNow).answer;
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

TEST_P(EveryMethodTest, MemoryIsWhatTheSlotsTake) {
  const SessionConfig config = ConfigFor(GetParam());
  class Counter final : public StateVisitor {
   public:
    void Slot(absl::string_view, absl::Span<float> values) override {
      bytes += values.size() * sizeof(float);
    }
    void Scalar(absl::string_view, double&) override {}
    uint64_t bytes = 0;
  } counter;
  config.method->create(*config.optimizer, kElements)->VisitState(counter);
  EXPECT_EQ(config.MemoryBytes(),
            counter.bytes + 3 * kElements * sizeof(float) + config.layout->memory_bytes());
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
  EXPECT_EQ(ReasonName(session->Reconfigure(kHistory + 1, changed, kNow)), "HISTORY_CHANGED");
  ASSERT_TRUE(session->Reconfigure(kHistory, changed, kNow).ok());
  EXPECT_EQ(session->config_version(), 2u);
  ASSERT_TRUE(session->Reconfigure(0, changed, kNow).ok());  // the same again
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
  const absl::Status refused = session->Reconfigure(0, changed, kNow);
  EXPECT_EQ(ReasonName(refused), "FIELD_IMMUTABLE");
  EXPECT_EQ(FieldName(refused), "config.optimizer.adam.amsgrad");
  changed = ConfigFor(*FindMethod("momentum"));
  EXPECT_EQ(FieldName(session->Reconfigure(0, changed, kNow)), "config.optimizer");
  changed = ConfigFor(*FindMethod("adam"), kElements + 1);
  EXPECT_EQ(FieldName(session->Reconfigure(0, changed, kNow)), "config.layout");
  EXPECT_EQ(session->Checksum(), checksum);
  EXPECT_EQ(session->config_version(), 1u);
}

TEST(StagedGradientTest, FactsDoNotDependOnTheCut) {
  const std::vector<float> gradient = Vector(5, kElements);
  const char* bytes = reinterpret_cast<const char*>(gradient.data());
  StagedGradient by_shard(kElements);
  StagedGradient by_block(kElements);
  for (size_t index = NumShards(kElements); index-- > 0;) {
    by_shard.Stage(ShardAt(index, kElements), bytes);
  }
  for (size_t index = 0; index < NumBlocks(kElements); ++index) {
    by_block.Stage(ShardAt(index, kElements, kBlock), bytes);
  }
  EXPECT_EQ(by_shard.Facts().norm, by_block.Facts().norm);
  EXPECT_EQ(by_shard.Facts().digest, by_block.Facts().digest);
  EXPECT_TRUE(by_shard.Facts().finite);
}

TEST(StagedGradientTest, OneBadElementAnywhereIsSeen) {
  for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    for (const size_t where : {size_t{0}, kBlock - 1, kBlock, size_t{kElements} - 1}) {
      std::vector<float> gradient = Vector(5, kElements);
      gradient[where] = bad;
      StagedGradient staged(kElements);
      staged.Stage({0, kElements}, reinterpret_cast<const char*>(gradient.data()));
      EXPECT_FALSE(staged.Facts().finite) << bad << " at " << where;
    }
  }
  // The largest floats are finite, all of them together too.
  const std::vector<float> large(kElements, 3.4028235e38f);
  StagedGradient staged(kElements);
  staged.Stage({0, kElements}, reinterpret_cast<const char*>(large.data()));
  EXPECT_TRUE(staged.Facts().finite);
}

TEST(StagedGradientTest, UnalignedBytesAreTaken) {
  const std::vector<float> gradient = Vector(5, 1003);
  std::string bytes(1, 'x');
  bytes.append(reinterpret_cast<const char*>(gradient.data()), gradient.size() * sizeof(float));
  StagedGradient staged(gradient.size());
  staged.Stage({0, gradient.size()}, bytes.data() + 1);
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
}

}  // namespace
}  // namespace talweg::core
