// SPDX-License-Identifier: Apache-2.0
//
// Sessions as their users set them up: layouts, defaults, groups, updates, dry runs, lists.
#include <set>
#include <string>
#include <vector>

#include "core/session/run_series.h"
#include "core/session/session.h"
#include "gtest/gtest.h"
#include "tests/conformance/serving_test.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::ErrorOf;
using testing::Floats;
using testing::ServingTest;
using testing::StepOf;
using testing::TwoTensors;
using testing::VectorSession;

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
  // A session that is larger than any server.
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

}  // namespace
}  // namespace talweg
