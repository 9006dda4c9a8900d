// SPDX-License-Identifier: Apache-2.0
#include "core/session/state_digest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/session/initial_values.h"
#include "core/session/one_worker_testing.h"
#include "core/session/session.h"
#include "nlohmann/json.hpp"

namespace talweg::core::one_worker {
namespace {

StateDigest DigestOf(Session& session, const Runner& run = RunHere) {
  const auto digest = std::make_shared<StateDigest>();
  const std::unique_ptr<Work> work = session.BeginDigest(digest);
  run(*work);
  session.End(*work, kNow);
  return *digest;
}

StateDigest DigestOf(uint64_t version, std::shared_ptr<const Parameters> parameters,
                     Stepper& stepper) {
  const auto digest = std::make_shared<StateDigest>();
  Work work;
  AddDigestStages(version, std::move(parameters), stepper, digest, work);
  work.RunHere();
  return *digest;
}

std::string ShaOf(absl::string_view bytes) {
  Sha256 sha256;
  SHA256(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), sha256.data());
  return HexOf(sha256);
}

SessionConfig WithDigestsEvery(SessionConfig config, uint64_t steps) {
  config.digests = ConfigOf<DigestConfig>({.every_steps = steps});
  return config;
}

// The run of proto/vectors/state_digest.json, which a script has made that shares no code with
// this.
TEST(StateDigestTest, ThePublishedRunHasThePublishedDigests) {
  std::ifstream file(TALWEG_DIGEST_VECTORS);
  const nlohmann::json published = nlohmann::json::parse(file);
  ASSERT_EQ(published["scheme"], std::string(kStateDigestScheme));
  constexpr uint64_t kSize = 1000;
  auto layout = std::make_shared<const Layout>(*Layout::Create({{"w", {kSize}}}));
  RateConfig rate;
  rate.learning_rate = 0.01;
  const DecayKind& kind = *FindDecayKind("constant");
  const Method& method = *FindMethod("adam");
  SessionConfig config{layout,
                       &method,
                       method.default_config(),
                       Schedule(ConfigOf<RateConfig>(rate), kind, kind.default_config()),
                       {}};
  ASSERT_TRUE(config.Resolve().ok());
  auto initial = std::make_shared<Parameters>(kSize);
  InitialValues::Create(*layout, /*seed=*/7, {{"w", NormalValues{}}})
      ->Draw({0, kSize}, initial->values.span());
  Session session(config, kHistory, initial);
  ASSERT_TRUE(session.Handle(Join{"a", 1}, kNow).effects.status.ok());

  size_t num_told = 0;
  for (const nlohmann::json& state : published["states"]) {
    while (session.machine().version() < state["version"]) {
      std::vector<float> gradient = Values(session);
      for (uint64_t i = 0; i < kSize; ++i) gradient[i] -= static_cast<float>(i % 1000) * 0.001f;
      Contribute(session, session.machine().version() + 1, gradient);
    }
    const StateDigest digest = DigestOf(session);
    EXPECT_EQ(StateDigestText(digest), state["text"]);
    EXPECT_EQ(HexOf(digest.sha256), state["sha256"]);
    ++num_told;
  }
  EXPECT_EQ(num_told, 3u);
  EXPECT_EQ(ShaOf({reinterpret_cast<const char*>(session.parameters()->values.data()), 4 * kSize}),
            "4b24600bc4d403b42ca83c498aebb50413bc7a3bfc7666255512827c767ca0e1");
}

// Another history, another incarnation, a worker that came and went, and a step that was sent
// twice.
TEST(StateDigestTest, RunsThatWereGivenTheSameAgree) {
  const SessionConfig config = FullConfig(*FindMethod("adam"));
  const auto one = Make(config);
  const auto other = *Session::Load(Make(config)->Save(), kNow, /*history=*/kHistory + 1);
  const auto contribute = [](Session& session, uint64_t history, uint64_t incarnation,
                             uint64_t sequence, uint64_t version) {
    const std::vector<float> gradient = PseudoVector(100 + version, session.num_elements());
    auto staged = std::make_shared<StagedGradient>(gradient.size());
    staged->Begin(session.config().group_map);
    staged->Stage({0, gradient.size()}, Dtype::kFloat32,
                  reinterpret_cast<const char*>(gradient.data()));
    ContributionInput input{
        {.history = history, .worker = "a", .incarnation = incarnation, .sequence = sequence}};
    input.contribution.base_version = version;
    input.contribution.ticket = sequence;
    input.gradient = staged;
    return ContributeAndRun(session, std::move(input), kNow + absl::Seconds(incarnation));
  };
  ASSERT_TRUE(other->Handle(Join{"b", 5}, kNow).effects.status.ok());
  ASSERT_TRUE(other->Handle(Join{"a", 9}, kNow).effects.status.ok());
  ASSERT_TRUE(other->Handle(Leave{kHistory + 1, "b", 5}, kNow).effects.status.ok());
  for (uint64_t version = 0; version < 3; ++version) {
    contribute(*one, kHistory, 1, version + 1, version);
    contribute(*other, kHistory + 1, 9, 10 * version + 1, version);
    const Contributed again = contribute(*other, kHistory + 1, 9, 10 * version + 1, version);
    ASSERT_TRUE(again.judged.answer.has_value() && again.judged.answer->replayed);
  }
  ASSERT_EQ(one->machine().version(), 3u);
  EXPECT_EQ(StateDigestText(DigestOf(*one)), StateDigestText(DigestOf(*other)));
  EXPECT_EQ(DigestOf(*one).sha256, DigestOf(*other).sha256);
  EXPECT_NE(one->Checksum(), other->Checksum());
}

TEST(StateDigestTest, AStepTellsTheDigestOfTheVersionsThatWereAskedFor) {
  const auto session = Make(WithDigestsEvery(FullConfig(*FindMethod("muon")), 2));
  EXPECT_FALSE(Step(*session).report->state_digest.has_value());
  const Answer second = Step(*session);
  EXPECT_EQ(second.report->state_digest, DigestOf(*session).sha256);
  EXPECT_EQ(session->machine().last_step()->state_digest, second.report->state_digest);
  // The digest is part of what is remembered.
  const auto loaded = *Session::Load(session->Save(), kNow);
  EXPECT_EQ(loaded->machine().last_step()->state_digest, second.report->state_digest);
  EXPECT_EQ(DigestOf(*loaded).sha256, *second.report->state_digest);

  const Reconfigured changed =
      session->Reconfigure(0, WithDigestsEvery(session->config(), 1), kNow);
  ASSERT_TRUE(changed.effects.status.ok() && changed.change.has_value());
  const Answer third = Step(*session);
  EXPECT_EQ(third.report->state_digest, DigestOf(*session).sha256);
  session->Reconfigure(0, WithDigestsEvery(session->config(), 0), kNow);
  EXPECT_FALSE(Step(*session).report->state_digest.has_value());
}

TEST(StateDigestTest, DigestsAndTheirSettingDoNotChangeTheRun) {
  const auto plain = Make(FullConfig(*FindMethod("adam")));
  const auto digested = Make(WithDigestsEvery(FullConfig(*FindMethod("adam")), 1));
  for (int step = 0; step < 3; ++step) {
    Step(*plain);
    Step(*digested);
  }
  EXPECT_EQ(DigestOf(*plain).sha256, DigestOf(*digested).sha256);
}

TEST(StateDigestTest, PiecesMayRunInAnyOrder) {
  const auto session = Make(FullConfig(*FindMethod("adam")));
  Step(*session);
  const StateDigest backward = DigestOf(*session, [](Work& work) {
    for (size_t stage = 0; stage < work.NumStages(); ++stage) {
      work.BeginStage(stage);
      for (size_t piece = work.NumPieces(stage); piece-- > 0;) work.RunPiece(stage, piece);
      work.EndStage(stage);
    }
  });
  EXPECT_EQ(backward.sha256, DigestOf(*session).sha256);
}

// 16 MiB are digested at a time.
TEST(StateDigestTest, ALongVectorIsDigestedWhole) {
  constexpr uint64_t kLong = (uint64_t{4} << 20) + 5;
  const auto session = Make(*FindMethod("momentum"), kLong);
  Step(*session);
  const StateDigest digest = DigestOf(*session);
  const char* bytes = reinterpret_cast<const char*>(session->parameters()->values.data());
  EXPECT_EQ(HexOf(digest.vectors[0].sha256), ShaOf({bytes, 4 * kLong}));
  EXPECT_EQ(HexOf(digest.sha256), ShaOf(StateDigestText(digest)));
}

// Changes one bit of one slot or scalar.
class BitFlipper final : public StateVisitor {
 public:
  explicit BitFlipper(std::string name) : name_(std::move(name)) {}
  void Slot(absl::string_view name, absl::Span<float> values) override {
    if (name == name_ && !values.empty()) Flip(&values.back());
  }
  void Scalar(absl::string_view name, double& value) override {
    if (name == name_) Flip(&value);
  }

 private:
  // Of the lowest byte: numbers are little-endian.
  static void Flip(void* number) { *static_cast<unsigned char*>(number) ^= 1; }

  const std::string name_;
};

class EveryStateDigestTest : public testing::TestWithParam<Method> {};

TEST_P(EveryStateDigestTest, ABitOfAnyVectorChangesIt) {
  const SessionConfig config = FullConfig(GetParam());
  auto parameters = std::make_shared<Parameters>(kElements);
  const std::vector<float> values = PseudoVector(1, kElements);
  std::copy(values.begin(), values.end(), parameters->values.data());
  Stepper stepper(config, *parameters);
  const StateDigest before = DigestOf(3, parameters, stepper);
  EXPECT_NE(DigestOf(4, parameters, stepper).sha256, before.sha256);

  std::set<std::string> names;
  for (size_t index = 0; index < before.vectors.size(); ++index) {
    const std::string& name = before.vectors[index].name;
    EXPECT_TRUE(names.insert(name).second) << name << " is there twice";
    if (before.vectors[index].num_elements == 0) continue;
    const auto flip = [&] {
      if (name == "parameters") {
        *reinterpret_cast<unsigned char*>(parameters->values.data()) ^= 1;
      } else {
        BitFlipper flipper(name);
        stepper.VisitSlots(flipper);
      }
    };
    flip();
    const StateDigest after = DigestOf(3, parameters, stepper);
    EXPECT_NE(after.sha256, before.sha256) << name;
    for (size_t other = 0; other < before.vectors.size(); ++other) {
      EXPECT_EQ(after.vectors[other].sha256 == before.vectors[other].sha256, other != index)
          << name << ", " << before.vectors[other].name;
    }
    flip();
  }
  EXPECT_EQ(DigestOf(3, parameters, stepper).sha256, before.sha256);
  // Everything that the method and the average keep is there, in order.
  class Names final : public StateVisitor {
   public:
    void Slot(absl::string_view name, absl::Span<float>) override { names.emplace(name); }
    void Scalar(absl::string_view name, double&) override { names.emplace(name); }
    std::set<std::string> names = {"parameters"};
  } kept;
  stepper.VisitSlots(kept);
  EXPECT_EQ(names, kept.names);
  EXPECT_EQ(before.vectors[0].name, "parameters");
  for (size_t index = 2; index < before.vectors.size(); ++index) {
    EXPECT_LT(before.vectors[index - 1].name, before.vectors[index].name);
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, EveryStateDigestTest, testing::ValuesIn(Methods()),
                         [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace talweg::core::one_worker
