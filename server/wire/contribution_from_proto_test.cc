// SPDX-License-Identifier: Apache-2.0
#include "server/wire/contribution_from_proto.h"

#include <functional>
#include <limits>
#include <string>

#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

v1::ContributionHeader Header() {
  v1::ContributionHeader header;
  header.set_session_id("mlp");
  header.set_worker("a");
  header.set_history(7);
  header.set_incarnation(3);
  header.set_sequence(11);
  header.set_base_version(5);
  return header;
}

void ExpectRefused(const std::function<void(v1::ContributionHeader&)>& bend,
                   const std::string& reason, const std::string& field) {
  v1::ContributionHeader header = Header();
  bend(header);
  const absl::Status status = CheckHeader(header);
  EXPECT_EQ(core::ReasonName(status), reason) << status;
  EXPECT_EQ(core::FieldName(status), field) << status;
}

TEST(ContributionFromProtoTest, HeaderMustSayWhoseItIs) {
  using Proto = v1::ContributionHeader;
  EXPECT_TRUE(CheckHeader(Header()).ok());
  ExpectRefused([](Proto& h) { h.clear_session_id(); }, "FIELD_REQUIRED", "header.session_id");
  ExpectRefused([](Proto& h) { h.clear_worker(); }, "FIELD_REQUIRED", "header.worker");
  ExpectRefused([](Proto& h) { h.set_worker("-"); }, "FIELD_OUT_OF_RANGE", "header.worker");
  ExpectRefused([](Proto& h) { h.clear_history(); }, "FIELD_REQUIRED", "header.history");
  ExpectRefused([](Proto& h) { h.clear_incarnation(); }, "FIELD_REQUIRED", "header.incarnation");
  ExpectRefused([](Proto& h) { h.clear_sequence(); }, "FIELD_REQUIRED", "header.sequence");
}

TEST(ContributionFromProtoTest, AContributionShowsThatItsWorkerLives) {
  const core::Heartbeat life = LifeOf(Header());
  EXPECT_EQ(life.history, 7u);
  EXPECT_EQ(life.worker, "a");
  EXPECT_EQ(life.incarnation, 3u);
}

TEST(ContributionFromProtoTest, WeightIsFiniteAndAboveZeroAndLossesAreFew) {
  using Proto = v1::ContributionHeader;
  for (const float weight : {0.0f, -1.0f, std::numeric_limits<float>::infinity(),
                             std::numeric_limits<float>::quiet_NaN()}) {
    ExpectRefused([weight](Proto& h) { h.set_weight(weight); }, "FIELD_OUT_OF_RANGE",
                  "header.weight");
  }
  const auto losses = [](int count) {
    return [count](Proto& h) {
      for (int index = 0; index < count; ++index) h.add_losses(1);
    };
  };
  ExpectRefused(losses(17), "FIELD_OUT_OF_RANGE", "header.losses");
  v1::ContributionHeader header = Header();
  losses(16)(header);
  EXPECT_TRUE(CheckHeader(header).ok());
}

TEST(ContributionFromProtoTest, AWorkerThatAbstainsBringsNothing) {
  using Proto = v1::ContributionHeader;
  v1::StepRequest request;
  *request.mutable_header() = Header();
  request.mutable_header()->set_abstain(true);
  EXPECT_TRUE(CheckHeader(request.header()).ok());
  EXPECT_TRUE(InputOf(request.header(), {}).contribution.abstains);
  EXPECT_FALSE(InputOf(Header(), {}).contribution.abstains);
  const auto abstaining = [](void (*bend)(Proto&)) {
    return [bend](Proto& h) {
      h.set_abstain(true);
      bend(h);
    };
  };
  ExpectRefused(abstaining([](Proto& h) { h.set_weight(1); }), "FIELD_OUT_OF_RANGE",
                "header.weight");
  ExpectRefused(abstaining([](Proto& h) { h.add_losses(1); }), "FIELD_OUT_OF_RANGE",
                "header.losses");
  const absl::StatusOr<ContributedVector> nothing = VectorOf(request, 5);
  ASSERT_TRUE(nothing.ok()) << nothing.status();
  EXPECT_TRUE(nothing->numbers.bytes.empty());
  request.add_sections()->set_kind(v1::SECTION_KIND_GRADIENT);
  const absl::Status refused = VectorOf(request, 5).status();
  EXPECT_EQ(core::ReasonName(refused), "SECTION_UNEXPECTED") << refused;
  EXPECT_EQ(core::FieldName(refused), "sections");
  request.mutable_header()->set_abstain(false);
  request.clear_sections();
  EXPECT_EQ(core::ReasonName(VectorOf(request, 5).status()), "SECTION_MISSING");
}

TEST(ContributionFromProtoTest, InputCarriesTheHeader) {
  v1::ContributionHeader header = Header();
  StepInput input = InputOf(header, {});
  EXPECT_EQ(input.contribution.worker, "a");
  EXPECT_EQ(input.contribution.history, 7u);
  EXPECT_EQ(input.contribution.incarnation, 3u);
  EXPECT_EQ(input.contribution.sequence, 11u);
  EXPECT_EQ(input.contribution.base_version, 5u);
  EXPECT_FALSE(input.has_weight);
  EXPECT_EQ(input.contribution.weight, 1);
  EXPECT_TRUE(input.losses.empty());
  header.set_weight(2.5f);
  header.add_losses(0.5);
  header.add_losses(0.25);
  input = InputOf(header, {});
  EXPECT_TRUE(input.has_weight);
  EXPECT_EQ(input.contribution.weight, 2.5f);
  EXPECT_EQ(input.losses, (std::vector<double>{0.5, 0.25}));
}

TEST(ContributionFromProtoTest, InputSaysWhatItsReplyNeeds) {
  StepInput input = InputOf(Header(), {});
  EXPECT_TRUE(input.contribution.may_wait);
  EXPECT_FALSE(input.wants_lookahead);
  input = InputOf(Header(), {.data = ReplySpec::Data::kLookahead, .may_wait = false});
  EXPECT_FALSE(input.contribution.may_wait);
  EXPECT_TRUE(input.wants_lookahead);
}

}  // namespace
}  // namespace talweg::server
