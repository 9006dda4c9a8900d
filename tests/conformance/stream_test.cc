// SPDX-License-Identifier: Apache-2.0
//
// StreamStep over real connections: what it gives its clients.
#include "tests/conformance/stream_test.h"

#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::ChunksOf;
using testing::ErrorOf;
using testing::Gradient;
using testing::kElements;
using testing::kMinElements;
using testing::StepOf;
using testing::StreamTest;
using testing::VectorSession;
using testing::WireStream;

TEST_F(StreamTest, ContributionsFollowEachOtherOnOneStream) {
  ASSERT_TRUE(wire_->Create(VectorSession("s", kElements, "adam")).ok());
  ASSERT_TRUE(wire_->Create(VectorSession("unary", kElements, "adam")).ok());
  const v1::JoinResponse joined = wire_->Join("s");
  const v1::JoinResponse unary = wire_->Join("unary");
  WireStream stream(wire_->training());
  for (uint64_t version = 0; version < 5; ++version) {
    const std::vector<float> gradient = Gradient(kElements, version);
    v1::StepRequest request = StepOf("s", joined, version + 1, version, {});
    v1::StepRequest expected_request = StepOf("unary", unary, version + 1, version, gradient);
    expected_request.mutable_reply()->set_max_reply_bytes(64 << 20);
    v1::StepResponse response;
    v1::StepResponse expected;
    ASSERT_TRUE(wire_->Step(expected_request, &expected).ok());
    ASSERT_TRUE(stream.Step(request, ChunksOf(gradient, kMinElements), &response))
        << stream.Finish().error_message();
    EXPECT_TRUE(stream.granted());
    EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
    EXPECT_EQ(response.applied_version(), version + 1);
    EXPECT_EQ(response.sections(0).data(), expected.sections(0).data());
    EXPECT_EQ(response.report().SerializeAsString(), expected.report().SerializeAsString());
    EXPECT_EQ(server_->message_bytes(), kElements * sizeof(float));
  }
  EXPECT_TRUE(stream.Finish().ok());
  ExpectNothingHeld();
}

// What holds at the header may hold no longer at the commit.
TEST_F(StreamTest, FenceAndStalenessAreJudgedAtTheCommit) {
  const std::vector<float> gradient = Gradient(kElements, 1);
  const auto chunks = ChunksOf(gradient, kMinElements);
  for (const bool fenced : {true, false}) {
    const v1::JoinResponse joined = CreateAndJoin("s");
    WireStream stream(wire_->training());
    ASSERT_TRUE(stream.WriteHeader(StepOf("s", joined, 1, 0, {})));
    ASSERT_TRUE(stream.ReadGrant());
    for (const auto& chunk : chunks) ASSERT_TRUE(stream.Write(chunk));
    if (fenced) {
      wire_->Join("s");
    } else {
      v1::StepRequest other = StepOf("s", wire_->Join("s", "b"), 1, 0, gradient);
      other.mutable_header()->set_worker("b");
      other.mutable_reply()->set_data(v1::REPLY_DATA_NONE);
      ASSERT_TRUE(wire_->Step(other).ok());
    }
    ASSERT_TRUE(stream.WriteCommit());
    v1::StepResponse response;
    if (fenced) {
      EXPECT_FALSE(stream.ReadReply(&response));
      EXPECT_EQ(ErrorOf(stream.Finish()).reason, "INCARNATION_FENCED");
    } else {
      ASSERT_TRUE(stream.ReadReply(&response));
      EXPECT_EQ(response.verdict(), v1::VERDICT_TOO_STALE);
      EXPECT_TRUE(stream.Finish().ok());
    }
    EXPECT_EQ(wire_->Get("s").version(), fenced ? 0u : 1u);
    Delete("s");
  }
}

// The same gradients through both shapes: parameters and reports of every method. (That the whole
// state is the same is held in core/session/staged_gradient_test.cc.)
TEST_F(StreamTest, BothShapesGiveTheSameBits) {
  constexpr uint64_t kOdd = 300007;
  constexpr uint64_t kSizes[] = {131072, 131073, 150001, kOdd};
  const auto* methods = v1::Optimizer::descriptor()->FindOneofByName("method");
  for (int method = 0; method < methods->field_count(); ++method) {
    for (const v1::Dtype dtype : {v1::DTYPE_FLOAT32, v1::DTYPE_BFLOAT16, v1::DTYPE_FLOAT16}) {
      const std::string name = methods->field(method)->name();
      if (name == "kfac") continue;  // it needs statistics: statistics_test.cc
      SCOPED_TRACE(name + " " + v1::Dtype_Name(dtype));
      v1::CreateSessionRequest create = VectorSession("unary", kOdd, name);
      v1::SessionConfig& config = *create.mutable_config();
      config.mutable_schedule()->set_learning_rate(0.0625);
      config.mutable_clipping()->set_max_norm(100);
      v1::Layout& layout = *config.mutable_layout();
      layout.mutable_tensors(0)->set_shape(0, kOdd - 5003);
      v1::Tensor& bias = *layout.add_tensors();
      bias.set_name("bias");
      bias.add_shape(5003);
      v1::ParameterGroup& group = *config.add_groups();
      group.set_tensors("bias");
      group.set_max_norm(1);
      ASSERT_TRUE(wire_->Create(create).ok());
      create.set_session_id("streamed");
      ASSERT_TRUE(wire_->Create(create).ok());
      const v1::JoinResponse unary = wire_->Join("unary");
      const v1::JoinResponse streamed = wire_->Join("streamed");
      WireStream stream(wire_->training());
      for (uint64_t version = 0; version < std::size(kSizes); ++version) {
        const std::vector<float> gradient = Gradient(kOdd, version);
        const std::vector<v1::StreamStepRequest> chunks =
            ChunksOf(gradient, kSizes[version], dtype, version % 2 == 0);
        v1::StepRequest request = StepOf("unary", unary, version + 1, version, {});
        request.mutable_sections(0)->set_dtype(dtype);
        for (const auto& frame : chunks) {
          request.mutable_sections(0)->mutable_data()->append(frame.chunk().section().data());
        }
        v1::ReplyOptions& reply = *request.mutable_reply();
        reply.set_max_reply_bytes(64 << 20);
        reply.set_dtype(static_cast<v1::Dtype>(version % 4));
        reply.set_data(static_cast<v1::ReplyData>(version % 4 + 1));
        request.mutable_header()->add_losses(0.5);
        v1::StepResponse expected;
        ASSERT_TRUE(wire_->Step(request, &expected).ok());
        // Each shape has a field of its own.
        reply.clear_max_reply_bytes();
        reply.set_checksums(version % 2 == 1);
        request.mutable_header()->set_session_id("streamed");
        request.mutable_header()->set_history(streamed.history());
        request.mutable_header()->set_incarnation(streamed.incarnation());
        v1::StepResponse response;
        ASSERT_TRUE(stream.Step(request, chunks, &response)) << stream.Finish().error_message();
        EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
        EXPECT_EQ(response.history(), streamed.history());
        response.set_history(expected.history());
        EXPECT_EQ(response.SerializeAsString(), expected.SerializeAsString());
        // What came in one shape is known again in the other.
        request.mutable_sections(0)->clear_begin_element();
        reply.set_max_reply_bytes(64 << 20);
        reply.clear_checksums();
        v1::StepResponse replayed;
        ASSERT_TRUE(wire_->Step(request, &replayed).ok());
        EXPECT_TRUE(replayed.replayed());
      }
      EXPECT_TRUE(stream.Finish().ok());
      Delete("unary");
      Delete("streamed");
    }
  }
  ExpectNothingHeld();
}

TEST_F(StreamTest, LayoutOfTenThousandTensorsIsStreamed) {
  v1::CreateSessionRequest create = VectorSession("many", 3, "adam");
  v1::Layout& layout = *create.mutable_config()->mutable_layout();
  layout.clear_tensors();
  uint64_t num_elements = 0;
  for (int index = 0; index < 10000; ++index) {
    v1::Tensor& tensor = *layout.add_tensors();
    tensor.set_name((index % 2 == 0 ? "even." : "odd.") + std::to_string(index));
    tensor.add_shape(static_cast<uint64_t>(index % 53 + 1));
    num_elements += static_cast<uint64_t>(index % 53 + 1);
  }
  create.mutable_config()->add_groups()->set_tensors("even.*");
  create.mutable_config()->mutable_groups(0)->set_max_norm(2);
  ASSERT_TRUE(wire_->Create(create).ok());
  create.set_session_id("unary");
  ASSERT_TRUE(wire_->Create(create).ok());
  const std::vector<float> gradient = Gradient(num_elements, 1);
  v1::StepResponse expected;
  ASSERT_TRUE(wire_->Step(StepOf("unary", wire_->Join("unary"), 1, 0, gradient), &expected).ok());
  WireStream stream(wire_->training());
  v1::StepResponse response;
  ASSERT_TRUE(stream.Step(StepOf("many", wire_->Join("many"), 1, 0, {}),
                          ChunksOf(gradient, kMinElements + 1), &response));
  EXPECT_EQ(response.sections(0).data(), expected.sections(0).data());
  EXPECT_EQ(response.report().gradient_norm(), expected.report().gradient_norm());
  EXPECT_TRUE(stream.Finish().ok());
}

TEST_F(StreamTest, SequenceIsReplayedOverANewStream) {
  const v1::JoinResponse joined = CreateAndJoin("s");
  const std::vector<v1::StreamStepRequest> chunks = ChunksOf(Gradient(kElements, 1), kMinElements);
  const v1::StepRequest request = StepOf("s", joined, 1, 0, {});
  v1::StepResponse first;
  v1::StepResponse again;
  {
    WireStream stream(wire_->training());
    ASSERT_TRUE(stream.Step(request, chunks, &first));
  }
  const uint32_t checksum = wire_->Checksum("s");
  WireStream stream(wire_->training());
  ASSERT_TRUE(stream.Step(request, chunks, &again));
  EXPECT_TRUE(again.replayed());
  EXPECT_EQ(again.applied_version(), 1u);
  again.set_replayed(false);
  EXPECT_EQ(again.SerializeAsString(), first.SerializeAsString());
  EXPECT_EQ(wire_->Checksum("s"), checksum);
  EXPECT_TRUE(stream.Finish().ok());
}

TEST_F(StreamTest, GradientThatIsNotFiniteIsRejectedAndTheStreamGoesOn) {
  const v1::JoinResponse joined = CreateAndJoin("s");
  WireStream stream(wire_->training());
  std::vector<float> gradient = Gradient(kElements, 1);
  gradient[kMinElements + 3] = std::nanf("");
  v1::StepResponse response;
  ASSERT_TRUE(
      stream.Step(StepOf("s", joined, 1, 0, {}), ChunksOf(gradient, kMinElements), &response));
  EXPECT_EQ(response.verdict(), v1::VERDICT_REJECTED_NON_FINITE);
  ASSERT_TRUE(stream.Step(StepOf("s", joined, 2, 0, {}),
                          ChunksOf(Gradient(kElements, 1), kMinElements), &response));
  EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
  EXPECT_TRUE(stream.Finish().ok());
}

// A client that does not wait for the trailer: the next contribution goes out as soon as it is
// granted, and the answers come in order.
TEST_F(StreamTest, NextContributionMayComeBeforeTheTrailer) {
  const v1::JoinResponse joined = CreateAndJoin("s");
  WireStream stream(wire_->training());
  for (uint64_t version = 0; version < 6; ++version) {
    ASSERT_TRUE(stream.WriteHeader(StepOf("s", joined, version + 1, version, {})));
    if (version == 0) {
      ASSERT_TRUE(stream.ReadGrant());
    }
    for (const auto& chunk : ChunksOf(Gradient(kElements, version), kMinElements)) {
      ASSERT_TRUE(stream.Write(chunk));
    }
    ASSERT_TRUE(stream.WriteCommit());
    // The answer of the one before is still unread here.
    v1::StepResponse response;
    if (version > 0) {
      ASSERT_TRUE(stream.ReadReply(&response));
      EXPECT_EQ(response.applied_version(), version);
    }
    v1::StreamStepResponse grant;
    ASSERT_TRUE(stream.Read(&grant));
    ASSERT_TRUE(grant.has_grant()) << grant.ShortDebugString().substr(0, 100);
  }
  v1::StepResponse last;
  ASSERT_TRUE(stream.ReadReply(&last));
  EXPECT_EQ(last.applied_version(), 6u);
  EXPECT_TRUE(stream.Finish().ok());
}

}  // namespace
}  // namespace talweg
