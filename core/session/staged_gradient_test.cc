// SPDX-License-Identifier: Apache-2.0
//
// A gradient that comes in runs of any length gives the bits of one that comes whole: its sums, its
// digest, and the state that every method makes of it.
#include "core/session/staged_gradient.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/kernels/kernel_testing.h"
#include "core/optimizers/optimizer_testing.h"
#include "core/session/session.h"
#include "core/session/session_testing.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

const absl::Time kNow = absl::UnixEpoch() + absl::Hours(1);
constexpr size_t kElements = 2 * kShard + 5 * kBlock + 517;
constexpr Dtype kDtypes[] = {Dtype::kFloat32, Dtype::kBfloat16, Dtype::kFloat16};
// Runs within a block, of whole blocks, across them, and the whole at once.
constexpr size_t kRuns[] = {1000, kBlock, kBlock + 1, 3 * kBlock - 1, kShard + 7, kElements};

std::string Encoded(Dtype dtype, const std::vector<float>& values) {
  std::string bytes(values.size() * DtypeBytes(dtype), '\0');
  FromFloat32(dtype, values, bytes.data());
  return bytes;
}

// Two groups beside the rest, with cuts inside blocks.
SessionConfig ConfigFor(const Method& method) {
  RateConfig rate;
  rate.learning_rate = 0.01;
  const DecayKind& kind = *FindDecayKind("constant");
  SessionConfig config{SpaceOf(kElements).layout, &method, method.default_config(),
                       Schedule(ConfigOf<RateConfig>(rate), kind, kind.default_config()),
                       ConfigOf<AggregationConfig>()};
  ClippingConfig clipping;
  clipping.max_norm = 3;
  config.clipping = ConfigOf<ClippingConfig>(clipping);
  GroupConfig own;
  own.max_norm = 1;
  GroupConfig slow;
  slow.learning_rate_factor = 0.25;
  config.groups = {{"t1", ConfigOf<GroupConfig>(own)}, {"t3", ConfigOf<GroupConfig>(slow)}};
  EXPECT_TRUE(config.Resolve().ok());
  return config;
}

void AppendInRuns(StagedGradient& staged, Dtype dtype, absl::string_view bytes, size_t run) {
  const size_t run_bytes = run * DtypeBytes(dtype);
  for (; !bytes.empty(); bytes.remove_prefix(std::min(run_bytes, bytes.size()))) {
    staged.Append({dtype, bytes.substr(0, run_bytes)});
  }
}

TEST(StagedGradientTest, RunsOfAnyLengthGiveTheBitsOfTheWhole) {
  const auto map = ConfigFor(*FindMethod("adam")).group_map;
  const std::vector<float> values = AwkwardFloats(kElements, 1);
  StagedGradient whole(kElements);
  StagedGradient appended(kElements);
  for (const Dtype dtype : kDtypes) {
    const std::string bytes = Encoded(dtype, values);
    whole.Begin(map);
    whole.Stage({0, kElements}, dtype, bytes.data());
    for (const size_t run : kRuns) {
      SCOPED_TRACE(run);
      appended.Begin(map);
      AppendInRuns(appended, dtype, bytes, run);
      ExpectSameBits(whole.values(), appended.values());
      EXPECT_EQ(whole.SquaredNorms(), appended.SquaredNorms());
      EXPECT_EQ(whole.Digest(), appended.Digest());
      EXPECT_EQ(whole.finite(), appended.finite());
    }
  }
}

TEST(StagedGradientTest, NumberThatIsNotFiniteIsFoundInEveryRun) {
  const auto map = ConfigFor(*FindMethod("adam")).group_map;
  StagedGradient staged(kElements);
  for (const size_t place : {size_t{0}, kBlock - 1, kBlock, kElements / 2, kElements - 1}) {
    std::vector<float> values(kElements, 1);
    values[place] = std::numeric_limits<float>::quiet_NaN();
    staged.Begin(map);
    AppendInRuns(staged, Dtype::kFloat32, Encoded(Dtype::kFloat32, values), 3 * kBlock - 1);
    EXPECT_FALSE(staged.finite()) << place;
    // Nothing of it stays for the next.
    staged.Begin(map);
    AppendInRuns(staged, Dtype::kFloat32,
                 Encoded(Dtype::kFloat32, std::vector<float>(kElements, 1)), kBlock + 1);
    EXPECT_TRUE(staged.finite()) << place;
  }
}

// One step with what was staged.
void Take(Session& session, StagedGradient& staged, uint64_t sequence) {
  Contribution contribution;
  contribution.history = 9;
  contribution.worker = "a";
  contribution.incarnation = 1;
  contribution.sequence = sequence;
  contribution.base_version = sequence - 1;
  contribution.ticket = sequence;
  ContributionInput input{contribution};
  input.gradient = Borrow(staged);
  const Contributed done = ContributeAndRun(session, std::move(input), kNow);
  ASSERT_TRUE(done.judged.status.ok() && done.judged.step.has_value());
}

TEST(StagedGradientTest, EveryMethodMakesTheSameStateOfBoth) {
  for (const Method& method : Methods()) {
    SCOPED_TRACE(method.name);
    const SessionConfig config = ConfigFor(method);
    for (const Dtype dtype : kDtypes) {
      const auto make = [&] {
        auto session =
            std::make_unique<Session>(config, 9, std::make_shared<Parameters>(kElements));
        EXPECT_TRUE(session->Handle(Join{"a", 1}, kNow).effects.status.ok());
        return session;
      };
      const auto whole = make();
      const auto streamed = make();
      const uint32_t before = whole->Checksum();
      StagedGradient staged(kElements);
      StagedGradient appended(kElements);
      for (uint64_t sequence = 1; sequence <= 6; ++sequence) {
        std::vector<float> values = AwkwardFloats(kElements, sequence);
        for (float& value : values) value = std::clamp(value, -1000.0f, 1000.0f);  // of float16
        const std::string bytes = Encoded(dtype, values);
        staged.Begin(config.group_map);
        staged.Stage({0, kElements}, dtype, bytes.data());
        Take(*whole, staged, sequence);
        appended.Begin(config.group_map);
        AppendInRuns(appended, dtype, bytes, kRuns[sequence - 1]);
        Take(*streamed, appended, sequence);
        ASSERT_EQ(whole->Checksum(), streamed->Checksum()) << "after " << sequence;
        ASSERT_EQ(whole->machine().last_step()->gradient_norm,
                  streamed->machine().last_step()->gradient_norm);
      }
      EXPECT_NE(whole->Checksum(), before);
    }
  }
}

}  // namespace
}  // namespace talweg::core
