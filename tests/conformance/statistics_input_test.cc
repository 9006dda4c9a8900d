// SPDX-License-Identifier: Apache-2.0
//
// Statistics and layers that are wrong, over real connections: the reason, the name of the field,
// and nothing changed.
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/conformance/statistics_test.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::AsRows;
using testing::AsTriangles;
using testing::ChunksOfSections;
using testing::ErrorOf;
using testing::kHidden;
using testing::NetworkSession;
using testing::PartOf;
using testing::Sent;
using testing::StatisticsTest;
using testing::VectorSession;
using testing::WireError;
using testing::WireStream;

constexpr uint64_t kSamples = 4;
constexpr uint64_t kChunk = 65536;       // elements
constexpr uint64_t kManySamples = 6000;  // whose rows are three chunks
constexpr uint64_t kMaxSamples = 1 << 24;

// A way to spoil a contribution, and what the server says of it.
struct Wrong {
  std::string name;
  std::function<void(v1::StepRequest&)> spoil;
  std::string reason;
  std::string field;
};

class InputTest : public StatisticsTest {
 protected:
  void SetUp() override {
    StatisticsTest::SetUp();
    Create(NetworkSession("s"));
    a_ = Join("s", "a");
    // A state that has factors, inverses and a version.
    Send(Request("s", a_, "a", 1, Numbers()));
    checksum_ = wire_->Checksum("s");
  }
  Sent Numbers(uint64_t num_samples = kSamples) {
    return AsRows(PartOf(Parameters("s"), 1, 0, num_samples));
  }
  v1::StepRequest Beside(uint64_t num_samples = kSamples) {
    return Request("s", a_, "a", 2, Numbers(num_samples));
  }
  v1::StepRequest OnlyStatistics(uint64_t num_samples = kSamples) {
    return Alone("s", a_, "a", 2, Numbers(num_samples));
  }
  void ExpectNothingChanged() {
    EXPECT_EQ(wire_->Get("s").version(), 1u);
    EXPECT_EQ(wire_->Checksum("s"), checksum_);
  }
  // Expects that a contribution that is spoiled in its header is refused in both shapes.
  void ExpectRefused(v1::StepRequest request, const Wrong& wrong) {
    SCOPED_TRACE(wrong.name);
    wrong.spoil(request);
    WireError error = ErrorOf(wire_->Step(request));
    EXPECT_EQ(error.code, grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(error.reason, wrong.reason) << error.message;
    EXPECT_EQ(error.field, wrong.field) << error.message;
    WireStream stream(wire_->training());
    stream.WriteHeader(request);
    v1::StreamStepResponse frame;
    EXPECT_FALSE(stream.Read(&frame)) << frame.ShortDebugString();
    error = ErrorOf(stream.Finish());
    EXPECT_EQ(error.reason, wrong.reason) << error.message;
    EXPECT_EQ(error.field, "header." + wrong.field) << error.message;
    ExpectNothingChanged();
  }
  // Expects that the last of `frames` ends a stream.
  void ExpectStreamEnds(const std::string& name, const v1::StepRequest& request,
                        const std::vector<v1::StreamStepRequest>& frames, const std::string& reason,
                        const std::string& field) {
    SCOPED_TRACE(name);
    WireStream stream(wire_->training());
    ASSERT_TRUE(stream.WriteHeader(request));
    ASSERT_TRUE(stream.ReadGrant());
    for (const auto& frame : frames) stream.Write(frame);
    v1::StreamStepResponse frame;
    EXPECT_FALSE(stream.Read(&frame)) << frame.ShortDebugString();
    const WireError error = ErrorOf(stream.Finish());
    EXPECT_EQ(error.reason, reason) << error.message;
    EXPECT_EQ(error.field, field) << error.message;
    ExpectNothingChanged();
  }
  // Expects that the sequence that was refused so often is taken now.
  void ExpectGoodIsTaken() {
    const v1::StepResponse response = Send(Beside());
    EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
    EXPECT_FALSE(response.replayed());
    EXPECT_EQ(response.report().curvature().num_statistics(), 1u);
  }

  v1::JoinResponse a_;
  uint32_t checksum_ = 0;
};

v1::Statistics& StatisticsOf(v1::StepRequest& request) {
  return *request.mutable_header()->mutable_statistics();
}
v1::LayerStatistics& LayerOf(v1::StepRequest& request, int index) {
  return *StatisticsOf(request).mutable_layers(index);
}

TEST_F(InputTest, HeadersThatDoNotFitTheSessionAreRefused) {
  const std::string layers = "header.statistics.layers";
  const std::vector<Wrong> all = {
      {"no layer of the session", [](auto& r) { LayerOf(r, 1).set_weight("rest"); },
       "FIELD_OUT_OF_RANGE", layers + "[1].weight"},
      {"a bias", [](auto& r) { LayerOf(r, 0).set_weight("b1"); }, "FIELD_OUT_OF_RANGE",
       layers + "[0].weight"},
      {"no name", [](auto& r) { LayerOf(r, 0).clear_weight(); }, "FIELD_OUT_OF_RANGE",
       layers + "[0].weight"},
      {"no layers", [](auto& r) { StatisticsOf(r).clear_layers(); }, "FIELD_OUT_OF_RANGE", layers},
      {"a layer too few", [](auto& r) { StatisticsOf(r).mutable_layers()->RemoveLast(); },
       "FIELD_OUT_OF_RANGE", layers},
      {"a layer too many", [](auto& r) { *StatisticsOf(r).add_layers() = LayerOf(r, 1); },
       "FIELD_OUT_OF_RANGE", layers},
      {"a layer twice", [](auto& r) { LayerOf(r, 1) = LayerOf(r, 0); }, "FIELD_OUT_OF_RANGE",
       layers + "[1].weight"},
      {"wrong order", [](auto& r) { StatisticsOf(r).mutable_layers()->SwapElements(0, 1); },
       "FIELD_OUT_OF_RANGE", layers + "[0].weight"},
      {"rows that are no multiple", [](auto& r) { LayerOf(r, 0).set_num_rows(kSamples + 1); },
       "FIELD_OUT_OF_RANGE", layers + "[0].num_rows"},
      {"two rows for each sample of a layer that shares nothing",
       [](auto& r) { LayerOf(r, 1).set_num_rows(2 * kSamples); }, "FIELD_OUT_OF_RANGE",
       layers + "[1].num_rows"},
      {"no rows", [](auto& r) { LayerOf(r, 1).clear_num_rows(); }, "FIELD_OUT_OF_RANGE",
       layers + "[1].num_rows"},
      {"rows without bounds", [](auto& r) { LayerOf(r, 1).set_num_rows(~uint64_t{0}); },
       "FIELD_OUT_OF_RANGE", layers + "[1].num_rows"},
      {"triangles with rows", [](auto& r) { LayerOf(r, 0).clear_form(); }, "FIELD_OUT_OF_RANGE",
       layers + "[0].num_rows"},
      {"unknown form", [](auto& r) { LayerOf(r, 1).set_form(static_cast<v1::StatisticsForm>(9)); },
       "FIELD_OUT_OF_RANGE", layers + "[1].form"},
      {"unknown target",
       [](auto& r) { StatisticsOf(r).set_target(static_cast<v1::StatisticsTarget>(9)); },
       "FIELD_OUT_OF_RANGE", "header.statistics.target"},
      {"no samples", [](auto& r) { StatisticsOf(r).set_num_samples(0); }, "FIELD_REQUIRED",
       "header.statistics.num_samples"},
      {"too many samples", [](auto& r) { StatisticsOf(r).set_num_samples(kMaxSamples + 1); },
       "FIELD_OUT_OF_RANGE", "header.statistics.num_samples"},
      {"abstains", [](auto& r) { r.mutable_header()->set_abstain(true); }, "FIELD_OUT_OF_RANGE",
       "header.statistics"},
  };
  for (const Wrong& wrong : all) {
    ExpectRefused(Beside(), wrong);
    ExpectRefused(OnlyStatistics(), wrong);
  }
  ExpectGoodIsTaken();
}

TEST_F(InputTest, StatisticsAloneHaveNothingOfAGradient) {
  const std::vector<Wrong> all = {
      {"weight", [](auto& r) { r.mutable_header()->set_weight(1); }, "FIELD_OUT_OF_RANGE",
       "header.weight"},
      {"losses", [](auto& r) { r.mutable_header()->add_losses(1); }, "FIELD_OUT_OF_RANGE",
       "header.losses"},
      {"closes_round", [](auto& r) { r.mutable_header()->set_closes_round(true); },
       "FIELD_OUT_OF_RANGE", "header.closes_round"},
  };
  for (const Wrong& wrong : all) ExpectRefused(OnlyStatistics(), wrong);
  ExpectGoodIsTaken();
}

TEST_F(InputTest, MostSamplesAreTaken) {
  Sent sent = AsTriangles(PartOf(Parameters("s"), 1, 0, kSamples));
  sent.statistics.set_num_samples(kMaxSamples);
  EXPECT_EQ(Send(Request("s", a_, "a", 2, sent)).report().curvature().num_samples(), kMaxSamples);
}

TEST_F(InputTest, SectionsThatDoNotFitTheHeaderAreRefused) {
  const std::string bytes(4, '\0');
  const auto data = [](v1::StepRequest& request) {
    return request.mutable_sections()->rbegin()->mutable_data();
  };
  struct Case : Wrong {
    bool alone = false;
  };
  const std::vector<Case> all = {
      {{"an element too few", [&](auto& r) { data(r)->resize(data(r)->size() - 4); },
        "SECTION_SIZE_MISMATCH", "sections[1].data"}},
      {{"an element too many", [&](auto& r) { data(r)->append(bytes); }, "SECTION_SIZE_MISMATCH",
        "sections[1].data"}},
      {{"half an element", [&](auto& r) { data(r)->resize(data(r)->size() - 2); },
        "SECTION_SIZE_MISMATCH", "sections[1].data"}},
      {{"no elements", [&](auto& r) { data(r)->clear(); }, "SECTION_SIZE_MISMATCH",
        "sections[1].data"}},
      {{"triangles that the header calls rows",
        [&](auto& r) {
          const Sent sent = AsTriangles(PartOf(Parameters("s"), 1, 0, kSamples));
          *data(r) = testing::Bytes(sent.numbers);
        },
        "SECTION_SIZE_MISMATCH", "sections[1].data"}},
      {{"not from the beginning", [](auto& r) { r.mutable_sections(1)->set_begin_element(1); },
        "SECTION_UNEXPECTED", "sections[1].begin_element"}},
      {{"no statistics", [](auto& r) { r.mutable_sections()->RemoveLast(); }, "SECTION_MISSING",
        "sections"}},
      {{"no gradient", [](auto& r) { r.mutable_sections()->DeleteSubrange(0, 1); },
        "SECTION_MISSING", "sections"}},
      {{"statistics twice", [](auto& r) { *r.add_sections() = r.sections(1); }, "SECTION_REPEATED",
        "sections[2]"}},
      {{"parameters", [](auto& r) { r.mutable_sections(1)->set_kind(v1::SECTION_KIND_PARAMETERS); },
        "SECTION_UNEXPECTED", "sections[1].kind"}},
      {{"the header says nothing of them", [](auto& r) { r.mutable_header()->clear_statistics(); },
        "SECTION_UNEXPECTED", "sections[1].kind"}},
      {{"the header says that they are alone", [](auto& r) { StatisticsOf(r).set_alone(true); },
        "SECTION_UNEXPECTED", "sections[0].kind"}},
      {{"alone and too few", [&](auto& r) { data(r)->resize(data(r)->size() - 4); },
        "SECTION_SIZE_MISMATCH", "sections[0].data"},
       true},
      {{"alone and nothing", [](auto& r) { r.clear_sections(); }, "SECTION_MISSING", "sections"},
       true},
  };
  for (const Case& wrong : all) {
    SCOPED_TRACE(wrong.name);
    v1::StepRequest request = wrong.alone ? OnlyStatistics() : Beside();
    wrong.spoil(request);
    const WireError error = ErrorOf(wire_->Step(request));
    EXPECT_EQ(error.code, grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(error.reason, wrong.reason) << error.message;
    EXPECT_EQ(error.field, wrong.field) << error.message;
    ExpectNothingChanged();
  }
  ExpectGoodIsTaken();
}

TEST_F(InputTest, ChunksThatAreOutOfTurnEndTheStream) {
  const v1::StepRequest beside = Beside(kManySamples);
  const std::vector<v1::StreamStepRequest> chunks = ChunksOfSections(beside, kChunk);
  ASSERT_EQ(chunks.size(), 4u);
  const v1::StreamStepRequest &gradient = chunks[0], &first = chunks[1], &second = chunks[2],
                              &last = chunks[3];
  v1::StreamStepRequest commit;
  commit.mutable_commit();
  const std::string kind = "chunk.section.kind";
  const std::string begin = "chunk.section.begin_element";
  const std::string data = "chunk.section.data";
  ExpectStreamEnds("statistics first", beside, {first}, "SECTION_UNEXPECTED", kind);
  ExpectStreamEnds("gradient twice", beside, {gradient, gradient}, "SECTION_UNEXPECTED", kind);
  v1::StreamStepRequest other = second;
  other.mutable_chunk()->mutable_section()->set_kind(v1::SECTION_KIND_GRADIENT);
  ExpectStreamEnds("another kind in between", beside, {gradient, first, other},
                   "SECTION_UNEXPECTED", kind);
  ExpectStreamEnds("a gap", beside, {gradient, second}, "CHUNK_MISPLACED", begin);
  ExpectStreamEnds("a repeat", beside, {gradient, first, first}, "CHUNK_MISPLACED", begin);
  other = last;
  other.mutable_chunk()->mutable_section()->mutable_data()->append(4, '\0');
  ExpectStreamEnds("an element too many", beside, {gradient, first, second, other},
                   "CHUNK_MISPLACED", data);
  other = first;
  other.mutable_chunk()->mutable_section()->mutable_data()->resize(100 * sizeof(float));
  ExpectStreamEnds("a small chunk", beside, {gradient, other}, "FIELD_OUT_OF_RANGE", data);
  other = first;
  other.mutable_chunk()->set_crc32c(1);
  ExpectStreamEnds("a wrong checksum", beside, {gradient, other}, "CHUNK_CORRUPT", "chunk.crc32c");
  ExpectStreamEnds("commit before the gradient", beside, {commit}, "CHUNK_MISPLACED", "commit");
  ExpectStreamEnds("commit before the statistics", beside, {gradient, commit}, "CHUNK_MISPLACED",
                   "commit");
  ExpectStreamEnds("commit among the statistics", beside, {gradient, first, second, commit},
                   "CHUNK_MISPLACED", "commit");
  const v1::StepRequest alone = OnlyStatistics(kManySamples);
  ExpectStreamEnds("alone with a gradient", alone, {gradient}, "SECTION_UNEXPECTED", kind);
  ExpectStreamEnds("alone and too early", alone, {first, second, commit}, "CHUNK_MISPLACED",
                   "commit");
  ExpectStreamEnds("alone and nothing", alone, {commit}, "CHUNK_MISPLACED", "commit");
  v1::StepRequest without = beside;
  without.mutable_header()->clear_statistics();
  ExpectStreamEnds("statistics that the header does not name", without, {gradient, first},
                   "SECTION_UNEXPECTED", kind);
  // The same chunks in their order are a contribution.
  EXPECT_EQ(Stream(beside, kChunk).report().curvature().num_samples(), kManySamples);
}

TEST_F(InputTest, StreamThatEndsAmongStatisticsLeavesNoTrace) {
  for (const bool alone : {false, true}) {
    const v1::StepRequest request = alone ? OnlyStatistics(kManySamples) : Beside(kManySamples);
    std::vector<v1::StreamStepRequest> chunks = ChunksOfSections(request, kChunk);
    chunks.pop_back();
    WireStream stream(wire_->training());
    ASSERT_TRUE(stream.WriteHeader(request));
    ASSERT_TRUE(stream.ReadGrant());
    for (const auto& chunk : chunks) ASSERT_TRUE(stream.Write(chunk));
    EXPECT_EQ(ErrorOf(stream.Finish()).reason, "FRAME_UNEXPECTED");
    ExpectNothingChanged();
  }
  for (int tries = 0; tries < 5000 && server_->message_bytes() != 0; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(server_->message_bytes(), 0u);
  ExpectGoodIsTaken();
}

TEST_F(InputTest, RowsOfASharedLayerAreAMultipleOfTheSamples) {
  v1::CreateSessionRequest create = NetworkSession("shared");
  create.mutable_config()->mutable_layers(1)->set_sharing(v1::SHARING_EXPAND);
  Create(create);
  const v1::JoinResponse joined = Join("shared", "a");
  const uint32_t checksum = wire_->Checksum("shared");
  const v1::StepRequest good = Alone("shared", joined, "a", 1, Numbers());
  for (const uint64_t num_rows : {uint64_t{1}, kSamples - 1, kSamples + 1, uint64_t{1} << 31}) {
    v1::StepRequest request = good;
    LayerOf(request, 1).set_num_rows(num_rows);
    const WireError error = ErrorOf(wire_->Step(request));
    EXPECT_EQ(error.reason, "FIELD_OUT_OF_RANGE") << error.message;
    EXPECT_EQ(error.field, "header.statistics.layers[1].num_rows");
  }
  // A header that promises more rows than any memory holds takes none.
  v1::StepRequest request = good;
  LayerOf(request, 1).set_num_rows((uint64_t{1} << 31) - kSamples);
  EXPECT_EQ(ErrorOf(wire_->Step(request)).reason, "SECTION_SIZE_MISMATCH");
  WireStream stream(wire_->training());
  stream.WriteHeader(request);
  EXPECT_EQ(ErrorOf(stream.Finish()).reason, "MEMORY_QUOTA");
  EXPECT_EQ(wire_->Checksum("shared"), checksum);
  // Two places for each sample.
  request = good;
  LayerOf(request, 1).set_num_rows(2 * kSamples);
  std::string& data = *request.mutable_sections(0)->mutable_data();
  data += data.substr(kSamples * (testing::kInputs + kHidden) * sizeof(float));
  EXPECT_EQ(Send(request).verdict(), v1::VERDICT_PENDING);
}

TEST_F(InputTest, SessionWithoutLayersTakesNoStatistics) {
  Create(VectorSession("adam", testing::kParameters, "adam"));
  const v1::JoinResponse joined = Join("adam", "a", {v1::ROLE_GRADIENT, v1::ROLE_STATISTICS});
  const uint32_t checksum = wire_->Checksum("adam");
  for (const bool alone : {false, true}) {
    const v1::StepRequest request = alone ? Alone("adam", joined, "a", 1, Numbers())
                                          : Request("adam", joined, "a", 1, Numbers());
    WireError error = ErrorOf(wire_->Step(request));
    EXPECT_EQ(error.reason, "FIELD_OUT_OF_RANGE");
    EXPECT_EQ(error.field, "header.statistics");
    WireStream stream(wire_->training());
    stream.WriteHeader(request);
    error = ErrorOf(stream.Finish());
    EXPECT_EQ(error.reason, "FIELD_OUT_OF_RANGE");
    EXPECT_EQ(error.field, "header.header.statistics");
  }
  EXPECT_EQ(wire_->Checksum("adam"), checksum);
}

TEST_F(InputTest, LayersThatDoNotFitTheLayoutMakeNoSession) {
  using Config = v1::SessionConfig;
  const struct {
    std::string name;
    std::function<void(Config&)> spoil;
    std::string reason, field;
  } all[] = {
      {"unknown weight", [](Config& c) { c.mutable_layers(1)->set_weight("w3"); },
       "FIELD_OUT_OF_RANGE", "config.layers[1].weight"},
      {"no weight", [](Config& c) { c.mutable_layers(0)->clear_weight(); }, "FIELD_OUT_OF_RANGE",
       "config.layers[0].weight"},
      {"unknown bias", [](Config& c) { c.mutable_layers(0)->set_bias("b3"); }, "FIELD_OUT_OF_RANGE",
       "config.layers[0].bias"},
      {"bias of the wrong size", [](Config& c) { c.mutable_layers(0)->set_bias("rest"); },
       "FIELD_OUT_OF_RANGE", "config.layers[0].bias"},
      {"a weight twice", [](Config& c) { c.mutable_layers(1)->set_weight("w1"); },
       "FIELD_OUT_OF_RANGE", "config.layers[1].weight"},
      {"a bias twice",
       [](Config& c) {
         c.mutable_layers(1)->set_orientation(v1::ORIENTATION_OUT_IN);
         c.mutable_layers(1)->set_bias("b1");
       },
       "FIELD_OUT_OF_RANGE", "config.layers[1].bias"},
      {"a vector as a weight", [](Config& c) { c.mutable_layers(1)->set_weight("rest"); },
       "FIELD_OUT_OF_RANGE", "config.layers[1].weight"},
      {"unknown orientation",
       [](Config& c) { c.mutable_layers(1)->set_orientation(static_cast<v1::Orientation>(7)); },
       "FIELD_OUT_OF_RANGE", "config.layers[1].orientation"},
      {"layers with adam", [](Config& c) { c.mutable_optimizer()->mutable_adam(); },
       "FIELD_OUT_OF_RANGE", "config.layers"},
      {"no layers", [](Config& c) { c.clear_layers(); }, "FIELD_REQUIRED", "config.layers"},
  };
  for (const auto& wrong : all) {
    SCOPED_TRACE(wrong.name);
    v1::CreateSessionRequest create = NetworkSession("other");
    wrong.spoil(*create.mutable_config());
    const WireError error = ErrorOf(wire_->Create(create));
    EXPECT_EQ(error.reason, wrong.reason) << error.message;
    EXPECT_EQ(error.field, wrong.field) << error.message;
  }
  v1::GetSessionRequest get;
  v1::GetSessionResponse ignored;
  get.set_session_id("other");
  grpc::ClientContext context;
  EXPECT_EQ(ErrorOf(wire_->sessions().GetSession(&context, get, &ignored)).reason,
            "SESSION_NOT_FOUND");
}

TEST_F(InputTest, LayersAreFixed) {
  using Config = v1::SessionConfig;
  const std::vector<std::function<void(Config&)>> changes = {
      [](Config& config) { config.mutable_layers(0)->clear_bias(); },
      [](Config& config) { config.mutable_layers(0)->set_sharing(v1::SHARING_REDUCE); },
      [](Config& config) { config.mutable_layers()->SwapElements(0, 1); },
      [](Config& config) { config.mutable_layers()->RemoveLast(); },
  };
  for (const auto& change : changes) {
    v1::UpdateSessionRequest request;
    request.set_session_id("s");
    *request.mutable_config() = wire_->Get("s").config();
    change(*request.mutable_config());
    request.mutable_update_mask()->add_paths("layers");
    const WireError error = ErrorOf(Update(request));
    EXPECT_EQ(error.reason, "FIELD_IMMUTABLE") << error.message;
    EXPECT_EQ(error.field, "config.layers");
    ExpectNothingChanged();
  }
  // A path without a value is its default: none, which kfac cannot do with.
  v1::UpdateSessionRequest same;
  same.set_session_id("s");
  same.mutable_update_mask()->add_paths("layers");
  const WireError error = ErrorOf(Update(same));
  EXPECT_EQ(error.reason, "FIELD_REQUIRED") << error.message;
  EXPECT_EQ(error.field, "config.layers");
  ExpectNothingChanged();
  // The same layers again are no change.
  *same.mutable_config() = wire_->Get("s").config();
  EXPECT_TRUE(Update(same).ok());
  ExpectNothingChanged();
}

}  // namespace
}  // namespace talweg
