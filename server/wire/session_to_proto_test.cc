// SPDX-License-Identifier: Apache-2.0
#include "server/wire/session_to_proto.h"

#include <memory>

#include "gtest/gtest.h"
#include "server/wire/config_from_proto.h"

namespace talweg::server {
namespace {

SessionDescription Description() {
  v1::SessionConfig config;
  v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
  tensor.set_name("w");
  tensor.add_shape(6);
  config.mutable_optimizer()->mutable_adam();
  config.mutable_schedule()->set_learning_rate(0.5);
  SessionDescription description;
  description.identity = {"mlp", "request", 1, 77, absl::FromUnixSeconds(1000)};
  description.config = ConfigFromProto(config).value();
  description.config_version = 3;
  description.version = 12;
  description.memory_bytes = 4096;
  description.num_workers = 5;
  description.num_live_workers = 4;
  return description;
}

TEST(SessionToProtoTest, TellsWhatTheDescriptionTells) {
  SessionDescription description = Description();
  v1::Session session;
  SessionToProto(description, session);
  EXPECT_EQ(session.session_id(), "mlp");
  EXPECT_EQ(session.history(), 77u);
  EXPECT_EQ(session.version(), 12u);
  EXPECT_EQ(session.config_version(), 3u);
  EXPECT_EQ(session.config().optimizer().adam().beta1(), 0.9);  // a default, spelled out
  EXPECT_EQ(session.num_elements(), 6u);
  EXPECT_EQ(session.layout_digest(), description.config->layout->digest());
  EXPECT_EQ(session.memory_bytes(), 4096u);
  EXPECT_EQ(session.num_workers(), 5u);
  EXPECT_EQ(session.num_live_workers(), 4u);
  EXPECT_EQ(session.create_time().seconds(), 1000);
}

TEST(SessionToProtoTest, LastStepAndChecksumAreToldOnlyIfTheyAreThere) {
  SessionDescription description = Description();
  v1::Session session;
  SessionToProto(description, session);
  EXPECT_FALSE(session.has_last_step());
  EXPECT_FALSE(session.has_state_checksum());
  auto report = std::make_shared<core::StepReport>();
  report->learning_rate = 0.25;
  description.last_step = report;
  description.checksum = 9;
  SessionToProto(description, session);
  EXPECT_EQ(session.last_step().learning_rate(), 0.25);
  EXPECT_EQ(session.state_checksum(), 9u);
}

TEST(SessionToProtoTest, ADigestIsToldAsSha256sumPrintsIt) {
  SessionDescription description = Description();
  v1::Session session;
  SessionToProto(description, session);
  EXPECT_FALSE(session.has_state_digest());
  core::StateDigest digest;
  digest.version = 12;
  digest.vectors = {{"parameters", "float32", 6, {0x4b, 0x24}},
                    {"beta1_product", "float64", 1, {}}};
  digest.sha256 = {0x0f, 0xa1};
  description.digest = std::make_shared<const core::StateDigest>(digest);
  SessionToProto(description, session);
  const std::string zeros(60, '0');
  const v1::StateDigest& told = session.state_digest();
  EXPECT_EQ(told.scheme(), "talweg.state.v1");
  EXPECT_EQ(told.version(), 12u);
  EXPECT_EQ(told.sha256(), "0fa1" + zeros);
  ASSERT_EQ(told.vectors_size(), 2);
  EXPECT_EQ(told.vectors(0).name(), "parameters");
  EXPECT_EQ(told.vectors(0).sha256(), "4b24" + zeros);
  EXPECT_EQ(told.vectors(1).type(), "float64");
  EXPECT_EQ(told.vectors(0).num_elements(), 6u);
}

TEST(SessionToProtoTest, SummaryNamesTheMethod) {
  v1::SessionSummary summary;
  SummaryToProto(Description(), summary);
  EXPECT_EQ(summary.session_id(), "mlp");
  EXPECT_EQ(summary.history(), 77u);
  EXPECT_EQ(summary.version(), 12u);
  EXPECT_EQ(summary.optimizer(), "adam");
  EXPECT_EQ(summary.num_elements(), 6u);
  EXPECT_EQ(summary.memory_bytes(), 4096u);
  EXPECT_EQ(summary.num_live_workers(), 4u);
  EXPECT_EQ(summary.create_time().seconds(), 1000);
}

}  // namespace
}  // namespace talweg::server
