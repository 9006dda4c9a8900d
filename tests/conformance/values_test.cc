// SPDX-License-Identifier: Apache-2.0
//
// Numbers over the wire: the bits of the core, every dtype, every point, whole or from the middle
// on.
#include <cmath>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/cpp/talweg/client.h"
#include "core/base/checksum.h"
#include "core/base/dtype.h"
#include "core/optimizers/optimizer_testing.h"
#include "core/session/session.h"
#include "core/session/staged_gradient.h"
#include "gtest/gtest.h"
#include "tests/conformance/serving_test.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::Bytes;
using testing::ErrorOf;
using testing::Floats;
using testing::ServingTest;
using testing::StepOf;
using testing::TwoTensors;
using testing::VectorSession;

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

TEST_F(ServingTest, AReplyLargerThanTheServersMemoryForRepliesIsToldInUnits) {
  server::ServerOptions options;
  options.message_bytes = uint64_t{1} << 20;
  Start(options);
  ASSERT_TRUE(wire_->Create(VectorSession("s", uint64_t{3} << 17)).ok());
  v1::StepRequest request = StepOf("s", wire_->Join("s"), 1, 0, {});
  request.clear_sections();
  request.mutable_header()->set_abstain(true);
  const testing::WireError error = ErrorOf(wire_->Step(request));
  EXPECT_EQ(error.reason, "REPLY_TOO_LARGE");
  EXPECT_EQ(error.field, "reply.data");
  EXPECT_EQ(error.message,
            "the reply needs up to 1.5 MiB for 393216 elements, the server has 512.0 KiB for all "
            "replies; StreamStep needs less");
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

// By Step, StreamStep and Pull, and by the library that wraps them.
TEST_F(ServingTest, NumbersThatTheDtypeDoesNotReachAreTold) {
  v1::CreateSessionRequest create = TwoTensors();
  create.mutable_initial_values()->mutable_uploaded()->set_values(1, 70000);
  ASSERT_TRUE(wire_->Create(create).ok());
  const v1::JoinResponse joined = wire_->Join("s");
  v1::StepRequest request = StepOf("s", joined, 1, 0, {0, 0, 0});
  request.mutable_reply()->set_dtype(v1::DTYPE_FLOAT16);
  v1::StepResponse response;
  ASSERT_TRUE(wire_->Step(request, &response).ok());
  EXPECT_EQ(response.num_overflowed(), 1u);
  EXPECT_EQ(response.first_overflowed(), 1u);
  EXPECT_EQ(response.report().num_non_finite(), 0u);
  request.mutable_reply()->set_dtype(v1::DTYPE_BFLOAT16);  // the same answer again
  ASSERT_TRUE(wire_->Step(request, &response).ok());
  EXPECT_EQ(response.num_overflowed(), 0u);
  EXPECT_FALSE(response.has_first_overflowed());

  const Client client = Client::Connect(server_->address()).value();
  std::vector<float> values(3);
  PullOptions pull;
  pull.dtype = v1::DTYPE_FLOAT16;
  const PulledVersion pulled = client.Pull("s", absl::MakeSpan(values), pull).value();
  EXPECT_EQ(pulled.num_overflowed, 1u);
  EXPECT_EQ(pulled.first_overflowed, 1u);
  EXPECT_TRUE(std::isinf(values[1]));
  EXPECT_EQ(client.Pull("s", absl::MakeSpan(values))->num_overflowed, 0u);

  Session session = client.Join("s", "a").value();
  StepOptions options;
  options.reply_dtype = v1::DTYPE_FLOAT16;
  for (const bool streams : {false, true}) {
    options.checksums = streams;
    ASSERT_TRUE(session.Pull(absl::MakeSpan(values)).ok());
    EXPECT_EQ(session.num_overflowed(), 0u);
    const StepResult result = session.Step({0, 0, 0}, absl::MakeSpan(values), {}, options).value();
    EXPECT_EQ(result.num_overflowed, 1u) << streams;
    EXPECT_EQ(result.first_overflowed, 1u) << streams;
    EXPECT_EQ(session.num_overflowed(), 1u);
  }
}

}  // namespace
}  // namespace talweg
