// SPDX-License-Identifier: Apache-2.0
//
// The server as its users and operators meet it: layouts, values, updates, health, signals.
#include <signal.h>

#include <atomic>
#include <cmath>
#include <thread>

#include "absl/time/clock.h"
#include "core/base/checksum.h"
#include "core/kernels/dtype.h"
#include "core/optimizers/optimizer_testing.h"
#include "core/session/run_series.h"
#include "core/session/session.h"
#include "core/session/staged_gradient.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "tests/conformance/served_test.h"
#include "tests/support/health.grpc.pb.h"
#include "tests/support/server_process.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::Bytes;
using testing::ErrorOf;
using testing::Floats;
using testing::ServerProcess;
using testing::StepOf;
using testing::VectorSession;
using testing::WireClient;

class ServingTest : public testing::ServedTest {
 protected:
  std::vector<float> PullAll(const std::string& session_id, uint64_t* version = nullptr) {
    v1::PullRequest request;
    request.set_session_id(session_id);
    std::vector<float> values;
    const grpc::Status status = wire_->Pull(request, &values, version);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return values;
  }
};

TEST_F(ServingTest, StepsOverTheWireGiveTheBitsOfTheCore) {
  constexpr uint64_t kElements = 70001;
  ASSERT_TRUE(wire_->Create(VectorSession("s", kElements, "adam")).ok());
  v1::JoinResponse joined = wire_->Join("s");
  const core::Method& method = *core::FindMethod("adam");
  const auto config = method.default_config();
  const auto optimizer = method.create(*config, core::SpaceOf(kElements));
  core::AlignedBuffer gradient(kElements);
  core::AlignedBuffer parameters(kElements);
  v1::StepResponse response;
  for (uint64_t version = 0; version < 5; ++version) {
    for (uint64_t index = 0; index < kElements; ++index) {
      gradient.data()[index] =
          static_cast<float>(static_cast<int64_t>(index * 2654435761 % 1001) - 500) /
          static_cast<float>(1 + version);
    }
    v1::StepRequest request =
        StepOf("s", joined, version + 1, version, {gradient.span().begin(), gradient.span().end()});
    ASSERT_TRUE(wire_->Step(request, &response).ok());
    ASSERT_EQ(response.verdict(), v1::VERDICT_APPLIED);
    ASSERT_EQ(response.report().learning_rate(), 0.5);
    optimizer->BeginStep(version + 1);
    optimizer->Apply({0.5, 0}, {0, kElements}, gradient.span(), parameters.span(),
                     parameters.span());
  }
  const std::vector<float> expected(parameters.span().begin(), parameters.span().end());
  EXPECT_EQ(Floats(response.sections(0).data()), expected);
  uint64_t version = 0;
  EXPECT_EQ(PullAll("s", &version), expected);
  EXPECT_EQ(version, 5u);
}

TEST_F(ServingTest, UpdateIsTheDifferenceOfTwoVersions) {
  v1::CreateSessionRequest create = VectorSession("s", 3);
  v1::Section& initial = *create.mutable_initial_values()->mutable_uploaded();
  initial.set_kind(v1::SECTION_KIND_PARAMETERS);
  initial.set_data(Bytes({1, -2, 0.5f}));
  ASSERT_TRUE(wire_->Create(create).ok());
  EXPECT_EQ(PullAll("s"), (std::vector<float>{1, -2, 0.5f}));
  const v1::JoinResponse joined = wire_->Join("s");
  v1::StepRequest request = StepOf("s", joined, 1, 0, {2, 4, -8});
  request.mutable_reply()->set_data(v1::REPLY_DATA_UPDATE);
  v1::StepResponse response;
  ASSERT_TRUE(wire_->Step(request, &response).ok());
  EXPECT_EQ(response.sections(0).kind(), v1::SECTION_KIND_UPDATE);
  EXPECT_EQ(Floats(response.sections(0).data()), (std::vector<float>{-1, -2, 4}));
  EXPECT_EQ(response.report().update_norm(), std::sqrt(21.0));
  // A replay took no step: the parameters, named as such.
  ASSERT_TRUE(wire_->Step(request, &response).ok());
  EXPECT_TRUE(response.replayed());
  EXPECT_EQ(response.sections(0).kind(), v1::SECTION_KIND_PARAMETERS);
  EXPECT_EQ(Floats(response.sections(0).data()), (std::vector<float>{0, -4, 4.5f}));
  request = StepOf("s", joined, 2, 1, {0, 0, 0});
  request.mutable_reply()->set_data(v1::REPLY_DATA_NONE);
  ASSERT_TRUE(wire_->Step(request, &response).ok());
  EXPECT_EQ(response.sections_size(), 0);
  EXPECT_EQ(response.data_version(), 2u);
}

TEST_F(ServingTest, LayoutOfTenThousandTensorsAndOfOneScalarWork) {
  v1::CreateSessionRequest create = VectorSession("many", 3);
  v1::Layout& layout = *create.mutable_config()->mutable_layout();
  layout.clear_tensors();
  for (int index = 0; index < 10000; ++index) {
    v1::Tensor& tensor = *layout.add_tensors();
    tensor.set_name("block." + std::to_string(index) + ".weight");
    if (index % 3 != 0) tensor.add_shape(static_cast<uint64_t>(index % 5 + 1));
  }
  create.mutable_initial_values()->mutable_seeded()->mutable_rules(0)->mutable_normal();
  v1::CreateSessionResponse response;
  ASSERT_TRUE(wire_->Create(create, &response).ok());
  EXPECT_EQ(response.session().config().layout().tensors_size(), 10000);
  const uint64_t num_elements = response.session().num_elements();
  EXPECT_EQ(PullAll("many").size(), num_elements);
  v1::StepResponse step;
  ASSERT_TRUE(
      wire_
          ->Step(StepOf("many", wire_->Join("many"), 1, 0, std::vector<float>(num_elements, 1)),
                 &step)
          .ok());
  EXPECT_EQ(step.verdict(), v1::VERDICT_APPLIED);

  create = VectorSession("scalar", 1);
  create.mutable_config()->mutable_layout()->mutable_tensors(0)->clear_shape();
  ASSERT_TRUE(wire_->Create(create).ok());
  ASSERT_TRUE(wire_->Step(StepOf("scalar", wire_->Join("scalar"), 1, 0, {3}), &step).ok());
  EXPECT_EQ(Floats(step.sections(0).data()), (std::vector<float>{-1.5f}));
}

TEST_F(ServingTest, ResolvedConfigurationSpellsOutEveryDefault) {
  v1::CreateSessionResponse response;
  ASSERT_TRUE(wire_->Create(VectorSession("s", 1000, "adam"), &response).ok());
  const v1::Session& session = response.session();
  const v1::Adam& adam = session.config().optimizer().adam();
  EXPECT_EQ(adam.beta1(), 0.9);
  EXPECT_EQ(adam.beta2(), 0.999);
  EXPECT_EQ(adam.epsilon(), 1e-8);
  EXPECT_EQ(adam.dialect(), v1::DIALECT_TORCH);
  EXPECT_TRUE(adam.has_amsgrad());
  EXPECT_TRUE(session.config().schedule().has_constant());
  EXPECT_TRUE(session.config().schedule().has_warmup_steps());
  EXPECT_EQ(session.config().aggregation().lease_seconds(), 30u);
  // m, v, two versions, one gradient; the layout; the records of steps and of versions.
  EXPECT_EQ(session.memory_bytes(),
            20000u + 169 + core::RunSeries::kBytes + core::AggregationConfig().RecordBytes());
  EXPECT_NE(session.history(), 0u);
  EXPECT_EQ(session.config_version(), 1u);
  EXPECT_GT(session.create_time().seconds(), 1'600'000'000);
}

TEST_F(ServingTest, UpdateHoldsFromTheNextVersion) {
  ASSERT_TRUE(wire_->Create(VectorSession("s", 1)).ok());
  const v1::JoinResponse joined = wire_->Join("s");
  v1::UpdateSessionRequest request;
  v1::UpdateSessionResponse updated;
  request.set_session_id("s");
  request.mutable_update_mask()->add_paths("schedule.learning_rate");
  request.mutable_config()->mutable_schedule()->set_learning_rate(2);
  grpc::ClientContext context;
  ASSERT_TRUE(wire_->sessions().UpdateSession(&context, request, &updated).ok());
  EXPECT_EQ(updated.session().config_version(), 2u);
  v1::StepResponse step;
  ASSERT_TRUE(wire_->Step(StepOf("s", joined, 1, 0, {1}), &step).ok());
  EXPECT_EQ(step.report().learning_rate(), 2);
  EXPECT_EQ(Floats(step.sections(0).data()), (std::vector<float>{-2}));
}

TEST_F(ServingTest, PagesListEverySessionOnce) {
  for (int index = 0; index < 25; ++index) {
    ASSERT_TRUE(wire_->Create(VectorSession("s" + std::to_string(index), 1)).ok());
  }
  std::vector<std::string> ids;
  v1::ListSessionsRequest request;
  request.set_page_size(7);
  int pages = 0;
  do {
    v1::ListSessionsResponse response;
    grpc::ClientContext context;
    ASSERT_TRUE(wire_->sessions().ListSessions(&context, request, &response).ok());
    EXPECT_LE(response.sessions_size(), 7);
    for (const v1::SessionSummary& session : response.sessions()) {
      ids.push_back(session.session_id());
      EXPECT_EQ(session.optimizer(), "gradient_descent");
    }
    request.set_page_token(response.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_EQ(pages, 4);
  EXPECT_EQ(ids.size(), 25u);
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 25u);
}

TEST_F(ServingTest, PullGoesOnWhereItBroke) {
  constexpr uint64_t kElements = 3 * (1 << 18) + 11;
  v1::CreateSessionRequest create = VectorSession("s", kElements);
  create.mutable_initial_values()->mutable_seeded()->mutable_rules(0)->mutable_normal();
  ASSERT_TRUE(wire_->Create(create).ok());
  const std::vector<float> whole = PullAll("s");
  ASSERT_EQ(whole.size(), kElements);
  v1::PullRequest request;
  request.set_session_id("s");
  request.set_version(0);
  request.set_begin_element(kElements - 300000);
  std::vector<float> rest;
  ASSERT_TRUE(wire_->Pull(request, &rest).ok());
  EXPECT_EQ(rest, std::vector<float>(whole.end() - 300000, whole.end()));
}

// Every message against the conversion of the float32 numbers, which a plain pull gives.
TEST_F(ServingTest, PullsComeInTheDtypeAskedForWithTheirChecksums) {
  constexpr uint64_t kElements = 2 * (1 << 18) + 11;
  v1::CreateSessionRequest create = VectorSession("s", kElements);
  create.mutable_initial_values()->mutable_seeded()->mutable_rules(0)->mutable_normal();
  ASSERT_TRUE(wire_->Create(create).ok());
  const std::vector<float> whole = PullAll("s");
  for (const auto& [on_wire, dtype] : {std::pair(v1::DTYPE_UNSPECIFIED, core::Dtype::kFloat32),
                                       std::pair(v1::DTYPE_FLOAT32, core::Dtype::kFloat32),
                                       std::pair(v1::DTYPE_BFLOAT16, core::Dtype::kBfloat16),
                                       std::pair(v1::DTYPE_FLOAT16, core::Dtype::kFloat16)}) {
    for (const bool checksums : {false, true}) {
      SCOPED_TRACE(v1::Dtype_Name(on_wire));
      constexpr uint64_t kBegin = 12345;
      std::string expected((kElements - kBegin) * core::DtypeBytes(dtype), ' ');
      core::FromFloat32(dtype, absl::MakeConstSpan(whole).subspan(kBegin), expected.data());
      v1::PullRequest request;
      request.set_session_id("s");
      request.set_begin_element(kBegin);
      request.set_dtype(on_wire);
      request.set_checksums(checksums);
      grpc::ClientContext context;
      const auto reader = wire_->training().Pull(&context, request);
      v1::PullResponse message;
      std::string pulled;
      int messages = 0;
      while (reader->Read(&message)) {
        const v1::Section& section = message.section();
        EXPECT_EQ(section.begin_element(), kBegin + pulled.size() / core::DtypeBytes(dtype));
        EXPECT_EQ(section.dtype(), on_wire == v1::DTYPE_UNSPECIFIED ? v1::DTYPE_FLOAT32 : on_wire);
        EXPECT_EQ(message.num_elements(), kElements);
        EXPECT_LE(section.data().size(), 1u << 20);
        EXPECT_EQ(message.has_crc32c(), checksums);
        if (checksums) {
          EXPECT_EQ(message.crc32c(), core::Crc32c(section.data()));
        }
        pulled += section.data();
        ++messages;
      }
      EXPECT_TRUE(reader->Finish().ok());
      EXPECT_EQ(messages, dtype == core::Dtype::kFloat32 ? 2 : 1 + (expected.size() > 1 << 20));
      EXPECT_EQ(pulled, expected);
    }
  }
  v1::PullRequest unknown;
  unknown.set_session_id("s");
  unknown.set_dtype(static_cast<v1::Dtype>(9));
  std::vector<float> ignored;
  EXPECT_EQ(ErrorOf(wire_->Pull(unknown, &ignored)).field, "dtype");
}

TEST_F(ServingTest, SeededValuesAreTheSameInEverySession) {
  v1::CreateSessionRequest create = VectorSession("a", 5000);
  create.mutable_initial_values()->mutable_seeded()->set_seed(42);
  create.mutable_initial_values()->mutable_seeded()->mutable_rules(0)->mutable_normal();
  ASSERT_TRUE(wire_->Create(create).ok());
  create.set_session_id("b");
  ASSERT_TRUE(wire_->Create(create).ok());
  create.set_session_id("c");
  create.mutable_initial_values()->mutable_seeded()->set_seed(43);
  ASSERT_TRUE(wire_->Create(create).ok());
  EXPECT_EQ(PullAll("a"), PullAll("b"));
  EXPECT_NE(PullAll("a"), PullAll("c"));
}

TEST_F(ServingTest, PinnedPullGoesOnAtAVersionThatAnotherReaderHolds) {
  constexpr uint64_t kElements = uint64_t{4} << 20;  // 16 messages, more than a window takes
  ASSERT_TRUE(wire_->Create(VectorSession("s", kElements)).ok());
  v1::PullRequest request;
  request.set_session_id("s");
  grpc::ClientContext context;
  const auto holder = wire_->training().Pull(&context, request);
  v1::PullResponse message;
  ASSERT_TRUE(holder->Read(&message));
  ASSERT_EQ(message.version(), 0u);
  v1::StepRequest step = StepOf("s", wire_->Join("s"), 1, 0, std::vector<float>(kElements, 1));
  step.mutable_reply()->set_data(v1::REPLY_DATA_NONE);
  ASSERT_TRUE(wire_->Step(step).ok());
  request.set_version(0);
  request.set_begin_element(kElements - 2);
  std::vector<float> rest;
  uint64_t version = 99;
  ASSERT_TRUE(wire_->Pull(request, &rest, &version).ok());
  EXPECT_EQ(version, 0u);
  EXPECT_EQ(rest, std::vector<float>(2, 0.0f));
  while (holder->Read(&message)) EXPECT_EQ(message.version(), 0u);
  EXPECT_TRUE(holder->Finish().ok());
  grpc::Status gone;  // once the server has let go of it as well
  do {
    rest.clear();
    gone = wire_->Pull(request, &rest, &version);
  } while (gone.ok());
  EXPECT_EQ(ErrorOf(gone).reason, "VERSION_GONE");
}

// ---- settings of a step ----

// Two tensors, "w" of two elements and "b" of one, that start at {1, 2, 4}; rate 0.5.
v1::CreateSessionRequest TwoTensors() {
  v1::CreateSessionRequest create = VectorSession("s", 2);
  create.mutable_config()->mutable_layout()->add_tensors()->set_name("b");
  v1::Section& initial = *create.mutable_initial_values()->mutable_uploaded();
  initial.set_kind(v1::SECTION_KIND_PARAMETERS);
  for (const float value : {1, 2, 4}) initial.add_values(value);
  return create;
}

TEST_F(ServingTest, GroupsAreSteppedAndClippedEachInItsWay) {
  v1::CreateSessionRequest create = TwoTensors();
  v1::SessionConfig& config = *create.mutable_config();
  config.mutable_clipping()->set_max_norm(1);
  config.mutable_weight_decay()->set_decoupled(0.5);
  v1::ParameterGroup& group = *config.add_groups();
  group.set_tensors("b*");
  group.set_learning_rate_factor(0.5);
  group.set_decay_factor(0);
  group.set_max_norm(8);
  ASSERT_TRUE(wire_->Create(create).ok());
  const v1::JoinResponse joined = wire_->Join("s");
  v1::StepResponse step;
  ASSERT_TRUE(wire_->Step(StepOf("s", joined, 1, 0, {3, -4, 8}), &step).ok());
  // "w" has norm 5 and is clipped to 1; "b" has 8 and just about is not.
  EXPECT_NEAR(step.report().clip_factor(), 1 / (5 + 1e-6), 1e-12);
  EXPECT_NEAR(step.report().gradient_norm(), std::sqrt(89.0), 1e-12);
  EXPECT_EQ(step.report().learning_rate(), 0.5);
  const std::vector<float> after = Floats(step.sections(0).data());
  EXPECT_NEAR(after[0], 1 * 0.75 - 0.5 * 0.6, 1e-6);
  EXPECT_NEAR(after[1], 2 * 0.75 + 0.5 * 0.8, 1e-6);
  EXPECT_NEAR(after[2], 4 - 0.25 * 8, 1e-6);
  EXPECT_EQ(wire_->Get("s").last_step().clip_factor(), step.report().clip_factor());
}

TEST_F(ServingTest, GroupsChangeAtAVersionBoundaryAndARefusedChangeLeavesTheState) {
  ASSERT_TRUE(wire_->Create(TwoTensors()).ok());
  const v1::JoinResponse joined = wire_->Join("s");
  ASSERT_TRUE(wire_->Step(StepOf("s", joined, 1, 0, {2, 2, 2})).ok());
  const auto update = [&](const std::string& path, const v1::SessionConfig& config) {
    v1::UpdateSessionRequest request;
    request.set_session_id("s");
    request.mutable_update_mask()->add_paths(path);
    *request.mutable_config() = config;
    v1::UpdateSessionResponse response;
    grpc::ClientContext context;
    return ErrorOf(wire_->sessions().UpdateSession(&context, request, &response));
  };
  v1::SessionConfig wanted;
  wanted.add_groups()->set_tensors("b");
  wanted.mutable_groups(0)->set_frozen(true);
  ASSERT_EQ(update("groups", wanted).code, grpc::StatusCode::OK);
  v1::StepResponse step;
  ASSERT_TRUE(wire_->Step(StepOf("s", joined, 2, 1, {2, 2, 2}), &step).ok());
  EXPECT_EQ(Floats(step.sections(0).data()), (std::vector<float>{-1, 0, 3}));
  EXPECT_EQ(step.report().gradient_norm(), std::sqrt(8.0));  // what is frozen is in no norm

  const uint32_t checksum = wire_->Checksum("s");
  const uint64_t memory = wire_->Get("s").memory_bytes();
  wanted.mutable_groups(0)->set_tensors("c");
  EXPECT_EQ(update("groups", wanted).field, "config.groups[0].tensors");
  wanted.mutable_groups(0)->set_tensors("b");
  wanted.mutable_groups(0)->set_max_norm(-1);
  EXPECT_EQ(update("groups", wanted).field, "config.groups[0].max_norm");
  wanted.mutable_average()->set_decay(0.5);
  EXPECT_EQ(update("average", wanted).reason, "FIELD_IMMUTABLE");
  wanted.mutable_aggregation()->set_gradient_accumulation_steps(2);
  EXPECT_EQ(update("aggregation.gradient_accumulation_steps", wanted).reason, "FIELD_IMMUTABLE");
  wanted.mutable_clipping()->set_max_value(-1);
  EXPECT_EQ(update("clipping.max_value", wanted).field, "config.clipping.max_value");
  EXPECT_EQ(wire_->Checksum("s"), checksum);
  EXPECT_EQ(wire_->Get("s").memory_bytes(), memory);
  EXPECT_EQ(wire_->Get("s").config_version(), 2u);
  ASSERT_EQ(update("groups", {}).code, grpc::StatusCode::OK);
  EXPECT_EQ(wire_->Get("s").config().groups_size(), 0);
  EXPECT_LT(wire_->Get("s").memory_bytes(), memory);
}

TEST_F(ServingTest, DryRunMakesNothingAndTellsWhatACreateCharges) {
  v1::CreateSessionRequest create = TwoTensors();
  v1::SessionConfig& config = *create.mutable_config();
  config.mutable_average()->set_decay(0.9);
  config.mutable_aggregation()->set_gradient_accumulation_steps(4);
  config.add_groups()->set_tensors("w");
  create.set_validate_only(true);
  v1::CreateSessionResponse dry;
  ASSERT_TRUE(wire_->Create(create, &dry).ok());
  EXPECT_EQ(dry.session().history(), 0u);
  v1::GetSessionRequest get;
  get.set_session_id("s");
  v1::GetSessionResponse got;
  grpc::ClientContext context;
  EXPECT_EQ(ErrorOf(wire_->sessions().GetSession(&context, get, &got)).reason, "SESSION_NOT_FOUND");
  // What a create refuses a dry run refuses, under the same name.
  create.mutable_config()->mutable_groups(0)->set_tensors("x");
  EXPECT_EQ(ErrorOf(wire_->Create(create)).field, "config.groups[0].tensors");
  create.mutable_config()->mutable_groups(0)->set_tensors("w");
  create.mutable_initial_values()->mutable_uploaded()->set_values(1, std::nanf(""));
  EXPECT_EQ(ErrorOf(wire_->Create(create)).field, "initial_values.uploaded.values");
  create.mutable_initial_values()->mutable_uploaded()->set_values(1, 2);
  // As large as no server is.
  v1::CreateSessionRequest huge = VectorSession("huge", uint64_t{1} << 40);
  huge.set_validate_only(true);
  EXPECT_EQ(ErrorOf(wire_->Create(huge)).reason, "MEMORY_QUOTA");

  create.set_validate_only(false);
  v1::CreateSessionResponse made;
  ASSERT_TRUE(wire_->Create(create, &made).ok());
  EXPECT_NE(made.session().history(), 0u);
  EXPECT_EQ(made.session().memory_bytes(), dry.session().memory_bytes());
  EXPECT_EQ(made.session().config().SerializeAsString(),
            dry.session().config().SerializeAsString());
  create.set_validate_only(true);
  EXPECT_EQ(ErrorOf(wire_->Create(create)).reason, "SESSION_EXISTS");
}

TEST_F(ServingTest, HalvesAndListsOfNumbersTravelBothWays) {
  ASSERT_TRUE(wire_->Create(TwoTensors()).ok());
  const v1::JoinResponse joined = wire_->Join("s");
  // The same three numbers, 2, -4 and 1 + 2^-7, in four ways.
  const std::string kBfloat16("\x00\x40\x80\xc0\x81\x3f", 6);
  const std::string kFloat16("\x00\x40\x00\xc4\x08\x3c", 6);
  const float third = 1 + 1.0f / 128;
  std::vector<v1::StepRequest> ways;
  for (uint64_t way = 0; way < 4; ++way) {
    ways.push_back(StepOf("s", joined, way + 1, way, {2, -4, third}));
  }
  ways[1].mutable_sections(0)->set_dtype(v1::DTYPE_BFLOAT16);
  ways[1].mutable_sections(0)->set_data(kBfloat16);
  ways[2].mutable_sections(0)->set_dtype(v1::DTYPE_FLOAT16);
  ways[2].mutable_sections(0)->set_data(kFloat16);
  ways[3].mutable_sections(0)->clear_data();
  for (const float value : {2.0f, -4.0f, third}) ways[3].mutable_sections(0)->add_values(value);
  for (v1::StepRequest& request : ways) {
    request.mutable_reply()->set_data(v1::REPLY_DATA_UPDATE);
    v1::StepResponse step;
    const grpc::Status status = wire_->Step(request, &step);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(step.sections(0).dtype(), v1::DTYPE_FLOAT32);
    const std::vector<float> update = Floats(step.sections(0).data());
    EXPECT_EQ(update[0], -1);
    EXPECT_EQ(update[1], 2);
    EXPECT_NEAR(update[2], -third / 2, 1e-6);
  }
  // What was sent in halves is the same contribution as its numbers in full.
  v1::StepRequest again = StepOf("s", joined, 4, 3, {2, -4, third});
  v1::StepResponse step;
  ASSERT_TRUE(wire_->Step(again, &step).ok());
  EXPECT_TRUE(step.replayed());

  // {-3, 10, 4 - 2 third} back in halves.
  const std::vector<float> whole = PullAll("s");
  for (const v1::Dtype dtype : {v1::DTYPE_BFLOAT16, v1::DTYPE_FLOAT16}) {
    again.mutable_reply()->set_dtype(dtype);
    again.mutable_reply()->set_max_reply_bytes(4096 + 6);
    ASSERT_TRUE(wire_->Step(again, &step).ok());
    EXPECT_EQ(step.sections(0).dtype(), dtype);
    std::string expected(6, '\0');
    core::FromFloat32(dtype == v1::DTYPE_BFLOAT16 ? core::Dtype::kBfloat16 : core::Dtype::kFloat16,
                      whole, expected.data());
    EXPECT_EQ(step.sections(0).data(), expected);
    v1::PullRequest pull;
    pull.set_session_id("s");
    pull.set_begin_element(1);
    pull.set_dtype(dtype);
    pull.set_checksums(true);
    grpc::ClientContext context;
    const auto reader = wire_->training().Pull(&context, pull);
    v1::PullResponse message;
    ASSERT_TRUE(reader->Read(&message));
    EXPECT_EQ(message.section().dtype(), dtype);
    EXPECT_EQ(message.section().data(), expected.substr(2));
    EXPECT_EQ(message.crc32c(), core::Crc32c(message.section().data()));
    EXPECT_FALSE(reader->Read(&message));
    EXPECT_TRUE(reader->Finish().ok());
  }
  // Half the bytes are asked for, so half are enough; in full they are not.
  again.mutable_reply()->set_dtype(v1::DTYPE_FLOAT32);
  EXPECT_EQ(ErrorOf(wire_->Step(again)).reason, "REPLY_TOO_LARGE");
  again.mutable_reply()->set_dtype(static_cast<v1::Dtype>(9));
  EXPECT_EQ(ErrorOf(wire_->Step(again)).field, "reply.dtype");
  // A float16 infinity is refused as any other.
  v1::StepRequest bad = ways[2];
  bad.mutable_header()->set_sequence(5);
  bad.mutable_header()->set_base_version(4);
  bad.mutable_sections(0)->set_data(std::string("\x00\x40\x00\x7c\x08\x3c", 6));
  ASSERT_TRUE(wire_->Step(bad, &step).ok());
  EXPECT_EQ(step.verdict(), v1::VERDICT_REJECTED_NON_FINITE);
}

TEST_F(ServingTest, AverageIsPulledBesideTheParameters) {
  v1::CreateSessionRequest create = TwoTensors();
  create.mutable_config()->mutable_average()->set_decay(0.5);
  ASSERT_TRUE(wire_->Create(create).ok());
  ASSERT_TRUE(wire_->Step(StepOf("s", wire_->Join("s"), 1, 0, {2, 4, 8})).ok());
  const auto pull = [&](const std::string& id, v1::Point point, v1::SectionKind* kind) {
    v1::PullRequest request;
    request.set_session_id(id);
    request.set_point(point);
    grpc::ClientContext context;
    const auto reader = wire_->training().Pull(&context, request);
    v1::PullResponse message;
    EXPECT_TRUE(reader->Read(&message));
    EXPECT_EQ(message.next_learning_rate(), 0.5);
    *kind = message.section().kind();
    std::vector<float> values = Floats(message.section().data());
    EXPECT_FALSE(reader->Read(&message));
    EXPECT_TRUE(reader->Finish().ok());
    return values;
  };
  v1::SectionKind kind = v1::SECTION_KIND_UNSPECIFIED;
  EXPECT_EQ(pull("s", v1::POINT_PARAMETERS, &kind), (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(kind, v1::SECTION_KIND_PARAMETERS);
  EXPECT_EQ(pull("s", v1::POINT_AVERAGE, &kind), (std::vector<float>{0.5f, 1, 2}));
  EXPECT_EQ(kind, v1::SECTION_KIND_AVERAGE);
  EXPECT_EQ(pull("s", v1::POINT_LOOKAHEAD, &kind), (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(kind, v1::SECTION_KIND_PARAMETERS);
  create = TwoTensors();
  create.set_session_id("plain");
  ASSERT_TRUE(wire_->Create(create).ok());
  EXPECT_EQ(pull("plain", v1::POINT_AVERAGE, &kind), (std::vector<float>{1, 2, 4}));
  EXPECT_EQ(kind, v1::SECTION_KIND_PARAMETERS);
  v1::PullRequest unknown;
  unknown.set_session_id("s");
  unknown.set_point(static_cast<v1::Point>(9));
  std::vector<float> none;
  EXPECT_EQ(ErrorOf(wire_->Pull(unknown, &none)).field, "point");
}

TEST_F(ServingTest, TenThousandTensorsInFiveHundredGroupsWork) {
  v1::CreateSessionRequest create = VectorSession("s", 3);
  v1::SessionConfig& config = *create.mutable_config();
  config.mutable_layout()->clear_tensors();
  for (int index = 0; index < 10000; ++index) {
    v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
    tensor.set_name("model.layers." + std::to_string(index / 20) + ".part" +
                    std::to_string(index % 20));
    tensor.add_shape(static_cast<uint64_t>(index % 7 + 1));
  }
  for (int layer = 0; layer < 500; ++layer) {
    v1::ParameterGroup& group = *config.add_groups();
    group.set_tensors("model.layers." + std::to_string(layer) + ".*");
    group.set_learning_rate_factor(layer);
    group.set_max_norm(1e6);
  }
  v1::CreateSessionResponse made;
  const grpc::Status status = wire_->Create(create, &made);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(made.session().config().groups_size(), 500);
  v1::StepResponse step;
  ASSERT_TRUE(wire_
                  ->Step(StepOf("s", wire_->Join("s"), 1, 0,
                                std::vector<float>(made.session().num_elements(), 1)),
                         &step)
                  .ok());
  const std::vector<float> after = Floats(step.sections(0).data());
  size_t element = 0;
  for (int index = 0; index < 10000; ++index) {
    for (int i = 0; i <= index % 7; ++i) {
      ASSERT_EQ(after[element++], -0.5f * static_cast<float>(index / 20)) << index;
    }
  }
}

// A stream that takes one message and then no more: a window of 64 KiB, and nobody who reads.
class Sleeper {
 public:
  Sleeper(const std::string& address, const std::string& session_id) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    stub_ = v1::SessionService::NewStub(
        grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
    v1::WatchSessionRequest request;
    request.set_session_id(session_id);
    request.set_follow(true);
    reader_ = stub_->WatchSession(&context_, request);
    v1::WatchSessionResponse message;
    EXPECT_TRUE(reader_->Read(&message));
    // Time for the second message and the third, which no longer fits.
    absl::SleepFor(absl::Milliseconds(200));
  }
  grpc::Status ReadOn() {
    v1::WatchSessionResponse message;
    while (reader_->Read(&message)) continue;
    return reader_->Finish();
  }

 private:
  std::unique_ptr<v1::SessionService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::WatchSessionResponse>> reader_;
};

// 172 KiB of records of steps.
void TakeSteps(WireClient& wire, const std::string& session_id, uint64_t num_elements) {
  const v1::JoinResponse joined = wire.Join(session_id);
  for (uint64_t version = 0; version < 2000; ++version) {
    v1::StepRequest step =
        StepOf(session_id, joined, version + 1, version, std::vector<float>(num_elements, 1));
    step.mutable_reply()->set_data(v1::REPLY_DATA_NONE);
    ASSERT_TRUE(wire.Step(step).ok());
  }
}

TEST_F(ServingTest, AWatcherThatDoesNotReadDoesNotHoldUpTheEndOfTheServer) {
  ASSERT_TRUE(wire_->Create(VectorSession("s", 1)).ok());
  TakeSteps(*wire_, "s", 1);
  Sleeper sleeper(server_->address(), "s");
  const absl::Time stop = absl::Now();
  server_->Stop(absl::Seconds(30));
  EXPECT_LT(absl::Now() - stop, absl::Seconds(8));
  EXPECT_FALSE(sleeper.ReadOn().ok());
}

TEST_F(ServingTest, AWatcherThatDoesNotReadHoldsNoMemoryOfADeletedSession) {
  constexpr uint64_t kElements = 16384;
  const uint64_t session_bytes =
      kElements * 12 + core::RunSeries::kBytes + core::AggregationConfig().RecordBytes();
  server_ = *server::Server::Start(
      {.address = "127.0.0.1:0", .num_threads = 2, .memory_bytes = session_bytes * 5 / 2});
  WireClient wire(server_->address());
  ASSERT_TRUE(wire.Create(VectorSession("first", kElements)).ok());
  TakeSteps(wire, "first", kElements);
  Sleeper sleeper(server_->address(), "first");
  v1::DeleteSessionRequest request;
  v1::DeleteSessionResponse response;
  request.set_session_id("first");
  grpc::ClientContext context;
  ASSERT_TRUE(wire.sessions().DeleteSession(&context, request, &response).ok());
  // Where the first one were still held, there would be room for one more, not for two.
  EXPECT_TRUE(wire.Create(VectorSession("second", kElements)).ok());
  EXPECT_TRUE(wire.Create(VectorSession("third", kElements)).ok());
  EXPECT_EQ(ErrorOf(sleeper.ReadOn()).reason, "SESSION_DELETED");
}

TEST_F(ServingTest, HealthTellsLiveAndReadyApart) {
  const auto health = grpc::health::v1::Health::NewStub(wire_->channel());
  const auto check = [&](const std::string& service) {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    grpc::health::v1::HealthCheckResponse response;
    request.set_service(service);
    const grpc::Status status = health->Check(&context, request, &response);
    return status.ok() ? response.status() : -static_cast<int>(status.error_code());
  };
  constexpr int kServing = 1;
  constexpr int kNotServing = 2;
  EXPECT_EQ(check("live"), kServing);
  EXPECT_EQ(check("ready"), kServing);
  EXPECT_EQ(check("nonsense"), -static_cast<int>(grpc::StatusCode::NOT_FOUND));
  server_->NotReady();
  EXPECT_EQ(check("live"), kServing);
  EXPECT_EQ(check("ready"), kNotServing);
  // Not ready is not refusing: what comes is still served.
  EXPECT_TRUE(wire_->Create(VectorSession("s", 1)).ok());
}

// By its wire format: field 7 of the request lists the services.
TEST_F(ServingTest, ReflectionNamesTheServices) {
  std::string response;
  const std::string list_services("\x3a\x01*", 3);
  ASSERT_TRUE(wire_
                  ->RawCall("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                            list_services, &response)
                  .ok());
  EXPECT_NE(response.find("talweg.v1.SessionService"), std::string::npos);
  EXPECT_NE(response.find("talweg.v1.TrainingService"), std::string::npos);
}

TEST(ServerStartTest, AddressBeyondLoopbackNeedsTheFlag) {
  EXPECT_FALSE(server::Server::Start({.address = "0.0.0.0:0"}).ok());
  EXPECT_FALSE(server::Server::Start({.address = "127.example.com:0"}).ok());
  EXPECT_FALSE(server::Server::Start({.address = "nonsense"}).ok());
  EXPECT_FALSE(server::Server::Start({.address = "127.0.0.1:70000"}).ok());
  EXPECT_TRUE(server::Server::Start({.address = "0.0.0.0:0", .insecure = true}).ok());
}

TEST(ServerStartTest, SecondServerOnThePortIsRefused) {
  const auto first = server::Server::Start({.address = "127.0.0.1:0"});
  ASSERT_TRUE(first.ok());
  const absl::Status second = server::Server::Start({.address = (*first)->address()}).status();
  EXPECT_EQ(second.message(), "cannot listen on " + (*first)->address() +
                                  ": address already in use, perhaps by another server; "
                                  "--address=127.0.0.1:0 takes a free port");
}

TEST(ServerStartTest, AnAddressThatCannotBeHadSaysWhy) {
  // TEST-NET-1: no machine's own.
  const absl::Status status =
      server::Server::Start({.address = "192.0.2.1:0", .insecure = true}).status();
  EXPECT_EQ(status.message(), "cannot listen on 192.0.2.1:0: Cannot assign requested address");
}

// The only ends that a stopping server gives a call, all of which the client library retries:
// refused or unreachable, or, where the machine was too busy to refuse it in time, cut by gRPC.
bool IsRetried(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE ||
         status.error_code() == grpc::StatusCode::CANCELLED;
}

TEST(ServerProcessTest, SigtermUnderLoadFinishesWhatIsUnderWay) {
  std::atomic<int> finished{0};  // calls that began before a signal and were answered after it
  for (int round = 0; round < 3; ++round) {
    ServerProcess process({"--log_format=json"});
    constexpr int kWorkers = 4;
    std::atomic<uint64_t> total{0};
    std::atomic<bool> signalled{false};
    std::vector<std::string> problems(kWorkers);
    std::vector<std::thread> threads;
    for (int worker = 0; worker < kWorkers; ++worker) {
      threads.emplace_back([&, worker] {
        WireClient wire(process.address());
        const std::string id = "s" + std::to_string(worker);
        if (!wire.Create(VectorSession(id, 100000, "adam")).ok()) {
          problems[worker] = "create";
          return;
        }
        const v1::JoinResponse joined = wire.Join(id);
        const std::vector<float> gradient(100000, 0.5f);
        for (uint64_t version = 0;; ++version) {
          v1::StepResponse response;
          const bool early = !signalled;
          const grpc::Status status =
              wire.Step(StepOf(id, joined, version + 1, version, gradient), &response);
          if (!status.ok()) {
            if (!IsRetried(status)) {
              problems[worker] = std::to_string(status.error_code()) + status.error_message();
            }
            return;
          }
          if (response.applied_version() != version + 1) {
            problems[worker] = "answered version " + std::to_string(response.applied_version());
            return;
          }
          ++total;
          if (early && signalled) ++finished;
        }
      });
    }
    while (total < 100) std::this_thread::yield();
    process.Signal(SIGTERM);
    signalled = true;
    EXPECT_EQ(process.Wait(), 0);
    for (std::thread& thread : threads) thread.join();
    for (const std::string& problem : problems) EXPECT_EQ(problem, "");
  }
  EXPECT_GT(finished, 0);
}

}  // namespace
}  // namespace talweg
