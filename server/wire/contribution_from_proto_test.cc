// SPDX-License-Identifier: Apache-2.0
#include "server/wire/contribution_from_proto.h"

#include <functional>
#include <limits>
#include <string>

#include "core/base/reasons.h"
#include "gtest/gtest.h"
#include "server/wire/section_codec.h"

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
  const auto vectors_of = [](const v1::StepRequest& asked) {
    return VectorsOf(asked.sections(), NumGradientElements(asked.header(), 5), 0);
  };
  const absl::StatusOr<ContributedVectors> nothing = vectors_of(request);
  ASSERT_TRUE(nothing.ok()) << nothing.status();
  EXPECT_TRUE(nothing->gradient.numbers.bytes.empty());
  request.add_sections()->set_kind(v1::SECTION_KIND_GRADIENT);
  const absl::Status refused = vectors_of(request).status();
  EXPECT_EQ(core::ReasonName(refused), "SECTION_UNEXPECTED") << refused;
  EXPECT_EQ(core::FieldName(refused), "sections");
  request.mutable_header()->set_abstain(false);
  request.clear_sections();
  EXPECT_EQ(core::ReasonName(vectors_of(request).status()), "SECTION_MISSING");
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

// A session of two layers: w1 without sharing, and w2 with it.
const core::LayerTable& Table() {
  static const auto& table = *[] {
    auto* made = new core::LayerTable();
    core::KroneckerLayer layer;
    layer.inputs = 3;
    layer.outputs = 2;
    made->weights = {"w1", "w2"};
    made->layers = {layer, layer};
    made->layers[1].sharing = core::Sharing::kExpand;
    return made;
  }();
  return table;
}

v1::ContributionHeader WithStatistics() {
  v1::ContributionHeader header = Header();
  v1::Statistics& statistics = *header.mutable_statistics();
  statistics.set_num_samples(10);
  statistics.add_layers()->set_weight("w1");
  v1::LayerStatistics& rows = *statistics.add_layers();
  rows.set_weight("w2");
  rows.set_form(v1::STATISTICS_FORM_ROWS);
  rows.set_num_rows(40);
  return header;
}

TEST(StatisticsShapeOfTest, SaysWhatFollowsTheHeader) {
  const auto shape = StatisticsShapeOf(WithStatistics(), Table());
  ASSERT_TRUE(shape.ok()) << shape.status();
  ASSERT_TRUE(shape->has_value());
  EXPECT_EQ((*shape)->num_samples, 10u);
  EXPECT_EQ((*shape)->num_rows, (std::vector<uint64_t>{0, 40}));
  EXPECT_EQ((*shape)->NumSent(Table().layers), 6u + 3 + 40 * 3 + 40 * 2);
  EXPECT_FALSE((*StatisticsShapeOf(Header(), Table())).has_value());
}

TEST(StatisticsShapeOfTest, RefusesWhatDoesNotFitTheLayers) {
  const auto refused = [](const std::function<void(v1::Statistics&)>& bend,
                          const std::string& field) {
    v1::ContributionHeader header = WithStatistics();
    bend(*header.mutable_statistics());
    absl::Status status = CheckHeader(header);
    if (status.ok()) {
      status = core::PrefixField(StatisticsShapeOf(header, Table()).status(), "header");
    }
    EXPECT_EQ(core::FieldName(status), field) << status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  };
  refused([](auto& s) { s.set_num_samples(0); }, "header.statistics.num_samples");
  refused([](auto& s) { s.set_num_samples((1 << 24) + 1); }, "header.statistics.num_samples");
  refused([](auto& s) { s.set_target(static_cast<v1::StatisticsTarget>(7)); },
          "header.statistics.target");
  refused([](auto& s) { s.mutable_layers()->RemoveLast(); }, "header.statistics.layers");
  refused([](auto& s) { s.add_layers()->set_weight("w3"); }, "header.statistics.layers");
  refused([](auto& s) { s.mutable_layers(0)->set_weight("other"); },
          "header.statistics.layers[0].weight");
  refused([](auto& s) { s.mutable_layers(0)->set_num_rows(3); },
          "header.statistics.layers[0].num_rows");
  refused([](auto& s) { s.mutable_layers(0)->set_form(static_cast<v1::StatisticsForm>(9)); },
          "header.statistics.layers[0].form");
  // Without sharing there is one row for each sample; with it, a multiple.
  refused(
      [](auto& s) {
        s.mutable_layers(0)->set_form(v1::STATISTICS_FORM_ROWS);
        s.mutable_layers(0)->set_num_rows(20);
      },
      "header.statistics.layers[0].num_rows");
  refused([](auto& s) { s.mutable_layers(1)->set_num_rows(41); },
          "header.statistics.layers[1].num_rows");
  refused([](auto& s) { s.mutable_layers(1)->set_num_rows(0); },
          "header.statistics.layers[1].num_rows");
  refused([](auto& s) { s.mutable_layers(1)->set_num_rows(uint64_t{10} << 40); },
          "header.statistics.layers[1].num_rows");
  // A multiple, and more rows than a factor can be made of.
  refused(
      [](auto& s) {
        s.set_num_samples(1 << 10);
        s.mutable_layers(1)->set_num_rows(uint64_t{1} << 31);
      },
      "header.statistics.layers[1].num_rows");
  // A session without layers.
  const absl::Status none = StatisticsShapeOf(WithStatistics(), {}).status();
  EXPECT_EQ(core::FieldName(none), "statistics") << none;
}

TEST(ContributionFromProtoTest, StatisticsAloneHaveNothingOfAGradient) {
  const auto alone = [](void (*bend)(v1::ContributionHeader & header)) {
    v1::ContributionHeader header = WithStatistics();
    header.clear_weight();
    header.clear_losses();
    header.clear_closes_round();
    header.mutable_statistics()->set_alone(true);
    bend(header);
    return CheckHeader(header);
  };
  EXPECT_TRUE(alone([](v1::ContributionHeader&) {}).ok());
  EXPECT_EQ(core::FieldName(alone([](v1::ContributionHeader& h) { h.set_weight(2); })),
            "header.weight");
  EXPECT_EQ(core::FieldName(alone([](v1::ContributionHeader& h) { h.add_losses(2); })),
            "header.losses");
  EXPECT_EQ(core::FieldName(alone([](v1::ContributionHeader& h) { h.set_closes_round(true); })),
            "header.closes_round");
  EXPECT_EQ(core::FieldName(alone([](v1::ContributionHeader& h) { h.set_abstain(true); })),
            "header.statistics");
}

}  // namespace
}  // namespace talweg::server
