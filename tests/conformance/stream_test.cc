// SPDX-License-Identifier: Apache-2.0
//
// StreamStep over real connections: what it gives, what it refuses, and that nothing of a stream
// that breaks stays behind.
#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <thread>

#include "core/base/reasons.h"
#include "gtest/gtest.h"
#include "tests/conformance/served_test.h"
#include "tests/support/proxy.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::ChunksOf;
using testing::ErrorOf;
using testing::Floats;
using testing::StepOf;
using testing::VectorSession;
using testing::WireClient;
using testing::WireStream;

constexpr uint64_t kMinElements = 65536;                 // of a float32 chunk that is not the last
constexpr uint64_t kElements = 3 * kMinElements + 4097;  // four such chunks
constexpr uint64_t kLarge = 5 * 4 * kMinElements + 1;    // a reply of six

std::vector<float> Gradient(uint64_t num_elements, uint64_t seed) {
  std::vector<float> gradient(num_elements);
  for (uint64_t index = 0; index < num_elements; ++index) {
    gradient[index] =
        static_cast<float>(static_cast<int64_t>((index + seed) * 2654435761 % 1001) - 500) / 64;
  }
  return gradient;
}

class StreamTest : public testing::ServedTest {
 protected:
  v1::JoinResponse CreateAndJoin(const std::string& id, uint64_t num_elements = kElements) {
    EXPECT_TRUE(wire_->Create(VectorSession(id, num_elements, "adam")).ok());
    return wire_->Join(id);
  }

  void Delete(const std::string& id) {
    v1::DeleteSessionRequest request;
    v1::DeleteSessionResponse response;
    request.set_session_id(id);
    grpc::ClientContext context;
    EXPECT_TRUE(wire_->sessions().DeleteSession(&context, request, &response).ok());
  }

  // What a stream held goes when the pool has seen its end.
  void ExpectNothingHeld() {
    for (int tries = 0; tries < 5000 && server_->message_bytes() != 0; ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(server_->message_bytes(), 0u);
  }
};

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
      EXPECT_EQ(response.verdict(), v1::VERDICT_ROUND_CLOSED);
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

TEST_F(StreamTest, WrongFramesEndTheStreamAndChangeNothing) {
  const v1::JoinResponse joined = CreateAndJoin("s");
  CreateAndJoin("other");
  const std::vector<v1::StreamStepRequest> good = ChunksOf(Gradient(kElements, 1), kMinElements);
  ASSERT_EQ(good.size(), 4u);
  v1::StreamStepRequest header;
  *header.mutable_header()->mutable_header() = StepOf("s", joined, 1, 0, {}).header();
  v1::StreamStepRequest commit;
  commit.mutable_commit();
  const auto bent = [](v1::StreamStepRequest frame, const std::function<void(v1::Chunk&)>& bend) {
    bend(*frame.mutable_chunk());
    return frame;
  };
  const auto header_with = [&](const std::function<void(v1::StreamHeader&)>& change) {
    v1::StreamStepRequest frame = header;
    change(*frame.mutable_header());
    return frame;
  };
  struct Case {
    std::string name;
    std::vector<v1::StreamStepRequest> frames;
    std::string reason;
    std::string field;
  };
  const std::vector<Case> cases = {
      {"empty", {v1::StreamStepRequest()}, "FRAME_UNEXPECTED", "frame"},
      {"chunk first", {good[0]}, "FRAME_UNEXPECTED", "chunk"},
      {"commit first", {commit}, "FRAME_UNEXPECTED", "commit"},
      {"header twice", {header, header}, "FRAME_UNEXPECTED", "header"},
      {"header within", {header, good[0], header}, "FRAME_UNEXPECTED", "header"},
      {"ends within", {header, good[0]}, "FRAME_UNEXPECTED", "frame"},
      {"commit at once", {header, commit}, "CHUNK_MISPLACED", "commit"},
      {"commit early", {header, good[0], good[1], good[2], commit}, "CHUNK_MISPLACED", "commit"},
      {"repeated", {header, good[0], good[0]}, "CHUNK_MISPLACED", "chunk.section.begin_element"},
      {"a gap", {header, good[0], good[2]}, "CHUNK_MISPLACED", "chunk.section.begin_element"},
      {"out of order",
       {header, good[1], good[0]},
       "CHUNK_MISPLACED",
       "chunk.section.begin_element"},
      {"overlap",
       {header, good[0],
        bent(good[1], [](v1::Chunk& chunk) { chunk.mutable_section()->set_begin_element(7); })},
       "CHUNK_MISPLACED",
       "chunk.section.begin_element"},
      {"past the end",
       {header, good[0], good[1], good[2],
        bent(good[3], [](v1::Chunk& c) { c.mutable_section()->mutable_data()->append(4, 'x'); })},
       "CHUNK_MISPLACED",
       "chunk.section.data"},
      {"after the end",
       {header, good[0], good[1], good[2], good[3],
        bent(good[3],
             [](v1::Chunk& chunk) { chunk.mutable_section()->set_begin_element(kElements); })},
       "CHUNK_MISPLACED",
       "chunk.section.data"},
      {"too small",
       {header,
        bent(good[0], [](v1::Chunk& c) { c.mutable_section()->mutable_data()->resize(4096); })},
       "FIELD_OUT_OF_RANGE",
       "chunk.section.data"},
      {"too large",
       {header,
        bent(good[0], [](v1::Chunk& c) { c.mutable_section()->mutable_data()->resize(5 << 20); })},
       "CHUNK_MISPLACED",
       "chunk.section.data"},
      {"wrong checksum",
       {header, bent(good[0], [](v1::Chunk& chunk) { chunk.set_crc32c(1); })},
       "CHUNK_CORRUPT",
       "chunk.crc32c"},
      {"wrong kind",
       {header,
        bent(good[0],
             [](v1::Chunk& chunk) { chunk.mutable_section()->set_kind(v1::SECTION_KIND_UPDATE); })},
       "SECTION_UNEXPECTED",
       "chunk.section.kind"},
      {"half a number",
       {header,
        bent(good[0], [](v1::Chunk& c) { c.mutable_section()->mutable_data()->pop_back(); })},
       "SECTION_SIZE_MISMATCH",
       "chunk.section.data"},
      {"unknown field",
       {header, bent(good[0],
                     [](v1::Chunk& chunk) {
                       v1::Section& section = *chunk.mutable_section();
                       section.GetReflection()->MutableUnknownFields(&section)->AddVarint(77, 1);
                     })},
       "FIELD_UNKNOWN",
       "chunk.section.77"},
      {"no header within",
       {header_with([](v1::StreamHeader& bent_header) { bent_header.clear_header(); })},
       "FIELD_REQUIRED",
       "header.header"},
      {"no worker",
       {header_with(
           [](v1::StreamHeader& bent_header) { bent_header.mutable_header()->clear_worker(); })},
       "FIELD_REQUIRED",
       "header.header.worker"},
      {"unknown dtype of the reply",
       {header_with([](v1::StreamHeader& bent_header) {
         bent_header.mutable_reply()->set_dtype(static_cast<v1::Dtype>(9));
       })},
       "FIELD_OUT_OF_RANGE",
       "header.reply.dtype"},
      {"no such session",
       {header_with([](v1::StreamHeader& bent_header) {
         bent_header.mutable_header()->set_session_id("nobody");
       })},
       "SESSION_NOT_FOUND",
       ""},
      {"other history",
       {header_with(
           [](v1::StreamHeader& bent_header) { bent_header.mutable_header()->set_history(7); })},
       "HISTORY_CHANGED",
       ""},
      {"stranger",
       {header_with([](v1::StreamHeader& bent_header) {
          bent_header.mutable_header()->set_worker("stranger");
        }),
        good[0], good[1], good[2], good[3], commit},
       "WORKER_NOT_JOINED",
       ""},
      {"version ahead",
       {header_with([](v1::StreamHeader& bent_header) {
          bent_header.mutable_header()->set_base_version(9);
        }),
        good[0], good[1], good[2], good[3], commit},
       "VERSION_AHEAD",
       "header.header.base_version"},
  };
  const uint32_t checksum = wire_->Checksum("s");
  for (const Case& wrong : cases) {
    SCOPED_TRACE(wrong.name);
    WireStream stream(wire_->training());
    for (const v1::StreamStepRequest& frame : wrong.frames) {
      if (!stream.Write(frame)) break;
    }
    const testing::WireError error = ErrorOf(stream.Finish());
    EXPECT_EQ(error.reason, wrong.reason) << error.message;
    EXPECT_EQ(error.field, wrong.field) << error.message;
    EXPECT_EQ(wire_->Checksum("s"), checksum);
    ExpectNothingHeld();
  }
  // No sequence was consumed.
  WireStream stream(wire_->training());
  v1::StepResponse response;
  ASSERT_TRUE(stream.Step(StepOf("s", joined, 1, 0, {}), good, &response));
  EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
  EXPECT_FALSE(response.replayed());
  // A stream is for one session.
  v1::StreamStepRequest elsewhere = header_with(
      [](v1::StreamHeader& bent_header) { bent_header.mutable_header()->set_session_id("other"); });
  ASSERT_TRUE(stream.Write(elsewhere));
  EXPECT_EQ(ErrorOf(stream.Finish()).field, "header.header.session_id");
  ExpectNothingHeld();
}

// What goes wrong in a second contribution leaves the first where it is.
TEST_F(StreamTest, ErrorInALaterContributionKeepsTheOnesBefore) {
  const v1::JoinResponse joined = CreateAndJoin("s");
  WireStream stream(wire_->training());
  const auto chunks = ChunksOf(Gradient(kElements, 1), kMinElements);
  v1::StepResponse response;
  ASSERT_TRUE(stream.Step(StepOf("s", joined, 1, 0, {}), chunks, &response));
  const uint32_t checksum = wire_->Checksum("s");
  ASSERT_TRUE(stream.WriteHeader(StepOf("s", joined, 2, 1, {})));
  ASSERT_TRUE(stream.Write(chunks[0]));
  stream.Write(chunks[2]);
  EXPECT_EQ(ErrorOf(stream.Finish()).reason, "CHUNK_MISPLACED");
  EXPECT_EQ(wire_->Checksum("s"), checksum);
  EXPECT_EQ(wire_->Get("s").version(), 1u);
  ExpectNothingHeld();
}

// The connection is cut after every frame in turn; then the same sequence goes over a new stream
// and makes the version it would have made.
TEST_F(StreamTest, ConnectionCutAtEveryFrameLosesNothing) {
  const v1::JoinResponse joined = CreateAndJoin("s");
  const v1::JoinResponse whole = CreateAndJoin("whole");
  const auto port = std::stoi(server_->address().substr(server_->address().rfind(':') + 1));
  testing::Proxy proxy(port);
  uint64_t version = 0;
  const auto step_both = [&](const std::vector<v1::StreamStepRequest>& chunks) {
    WireStream reference(wire_->training());
    v1::StepResponse expected;
    ASSERT_TRUE(
        reference.Step(StepOf("whole", whole, version + 1, version, {}), chunks, &expected));
    WireStream stream(wire_->training());
    v1::StepResponse response;
    ASSERT_TRUE(stream.Step(StepOf("s", joined, version + 1, version, {}), chunks, &response));
    ++version;
    EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
    EXPECT_EQ(response.applied_version(), version);
    EXPECT_EQ(response.sections(0).data(), expected.sections(0).data());
    EXPECT_EQ(wire_->Get("s").version(), version);
  };
  // Upwards: header, each of four chunks, commit.
  for (size_t frames = 0; frames <= 6; ++frames) {
    SCOPED_TRACE(frames);
    const auto chunks = ChunksOf(Gradient(kElements, version), kMinElements);
    const uint32_t checksum = wire_->Checksum("s");
    {
      WireClient relayed(proxy.address());
      WireStream stream(relayed.training());
      if (frames > 0) {
        ASSERT_TRUE(stream.WriteHeader(StepOf("s", joined, version + 1, version, {})));
        ASSERT_TRUE(stream.ReadGrant());
      }
      for (size_t index = 0; index + 1 < frames && index < chunks.size(); ++index) {
        ASSERT_TRUE(stream.Write(chunks[index]));
      }
      if (frames == 6) {
        proxy.DropReplies();
        ASSERT_TRUE(stream.WriteCommit());
        while (wire_->Get("s").version() == version) std::this_thread::yield();
      }
      proxy.CutAndHeal();
      EXPECT_FALSE(stream.Finish().ok());
    }
    ExpectNothingHeld();
    if (frames < 6) {
      EXPECT_EQ(wire_->Checksum("s"), checksum);
    }
    step_both(chunks);
  }
  // Downwards: after the grant and each of the reply's data frames.
  for (size_t frames = 0; frames <= 5; ++frames) {
    SCOPED_TRACE(frames);
    const auto chunks = ChunksOf(Gradient(kLarge, version), kMinElements);
    const std::string id = "down-" + std::to_string(frames);
    const v1::JoinResponse large = CreateAndJoin(id, kLarge);
    {
      WireClient relayed(proxy.address());
      WireStream stream(relayed.training());
      ASSERT_TRUE(stream.WriteHeader(StepOf(id, large, 1, 0, {})));
      ASSERT_TRUE(stream.ReadGrant());
      for (const auto& chunk : chunks) ASSERT_TRUE(stream.Write(chunk));
      ASSERT_TRUE(stream.WriteCommit());
      v1::StreamStepResponse frame;
      for (size_t read = 0; read < frames; ++read) ASSERT_TRUE(stream.Read(&frame));
      while (wire_->Get(id).version() == 0) std::this_thread::yield();
      proxy.CutAndHeal();
      stream.Finish();  // what was on its way already may still arrive
    }
    ExpectNothingHeld();
    const uint32_t checksum = wire_->Checksum(id);
    WireStream stream(wire_->training());
    v1::StepResponse response;
    ASSERT_TRUE(stream.Step(StepOf(id, large, 1, 0, {}), chunks, &response));
    EXPECT_TRUE(response.replayed());
    EXPECT_EQ(response.applied_version(), 1u);
    EXPECT_EQ(wire_->Checksum(id), checksum);
    EXPECT_TRUE(stream.Finish().ok());
    Delete(id);
  }
  ExpectNothingHeld();
}

TEST_F(StreamTest, DeletedSessionEndsItsStreams) {
  const v1::JoinResponse joined = CreateAndJoin("s");
  const auto chunks = ChunksOf(Gradient(kElements, 1), kMinElements);
  WireStream resting(wire_->training());
  v1::StepResponse response;
  ASSERT_TRUE(resting.Step(StepOf("s", joined, 1, 0, {}), chunks, &response));
  WireStream within(wire_->training());
  ASSERT_TRUE(within.WriteHeader(StepOf("s", joined, 2, 1, {})));
  ASSERT_TRUE(within.ReadGrant());
  ASSERT_TRUE(within.Write(chunks[0]));
  Delete("s");
  // Neither client does anything: they are told.
  v1::StreamStepResponse frame;
  EXPECT_FALSE(resting.Read(&frame));
  EXPECT_FALSE(within.Read(&frame));
  EXPECT_EQ(ErrorOf(resting.Finish()).reason, "SESSION_DELETED");
  EXPECT_EQ(ErrorOf(within.Finish()).reason, "SESSION_DELETED");
  ExpectNothingHeld();
}

class ScarceMemoryTest : public StreamTest {
 protected:
  // Memory for one contribution.
  void SetUp() override { Start({.message_bytes = kElements * sizeof(float)}); }
};

TEST_F(ScarceMemoryTest, AbandonedStreamGivesItsGrantToWhoeverWaits) {
  const v1::JoinResponse joined = CreateAndJoin("s");
  const auto chunks = ChunksOf(Gradient(kElements, 1), kMinElements);
  auto first = std::make_unique<WireStream>(wire_->training());
  ASSERT_TRUE(first->WriteHeader(StepOf("s", joined, 1, 0, {})));
  ASSERT_TRUE(first->ReadGrant());
  ASSERT_TRUE(first->Write(chunks[0]));
  // One that gives up while it waits must not hold up the next.
  auto given_up = std::make_unique<WireStream>(wire_->training());
  ASSERT_TRUE(given_up->WriteHeader(StepOf("s", joined, 1, 0, {})));
  std::atomic<bool> granted{false};
  std::thread second([&] {
    WireStream stream(wire_->training());
    EXPECT_TRUE(stream.WriteHeader(StepOf("s", joined, 1, 0, {})));
    EXPECT_TRUE(stream.ReadGrant());
    granted = true;
    v1::StepResponse response;
    for (const auto& chunk : chunks) EXPECT_TRUE(stream.Write(chunk));
    EXPECT_TRUE(stream.WriteCommit() && stream.ReadReply(&response));
    EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
    EXPECT_TRUE(stream.Finish().ok());
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(granted);
  EXPECT_EQ(server_->message_bytes(), kElements * sizeof(float));
  given_up.reset();
  first.reset();
  second.join();
  EXPECT_TRUE(granted);
  EXPECT_EQ(wire_->Get("s").version(), 1u);
  ExpectNothingHeld();
}

TEST_F(ScarceMemoryTest, StreamsTakeTurnsWhereMemoryIsForOne) {
  constexpr int kStreams = 4;
  std::vector<std::thread> threads;
  std::atomic<int> steps{0};
  for (int index = 0; index < kStreams; ++index) {
    threads.emplace_back([&, index] {
      const std::string id = "s" + std::to_string(index);
      WireClient wire(server_->address());
      EXPECT_TRUE(wire.Create(VectorSession(id, kElements)).ok());
      const v1::JoinResponse joined = wire.Join(id);
      WireStream stream(wire.training());
      for (uint64_t version = 0; version < 10; ++version) {
        v1::StepResponse response;
        const auto chunks = ChunksOf(Gradient(kElements, version), kMinElements);
        const bool stepped =
            stream.Step(StepOf(id, joined, version + 1, version, {}), chunks, &response);
        ASSERT_TRUE(stepped) << stream.Finish().error_message();
        ASSERT_EQ(response.applied_version(), version + 1);
        EXPECT_LE(server_->message_bytes(), kElements * sizeof(float));
        ++steps;
      }
      EXPECT_TRUE(stream.Finish().ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(steps, kStreams * 10);
  ExpectNothingHeld();
}

// Nor does one that rests between two contributions, and its client need not know.
TEST_F(ScarceMemoryTest, RestingStreamGivesItsMemoryToWhoeverBeginsToWait) {
  const v1::JoinResponse resting_joined = CreateAndJoin("resting");
  const v1::JoinResponse other_joined = CreateAndJoin("other");
  const auto chunks = ChunksOf(Gradient(kElements, 1), kMinElements);
  WireStream resting(wire_->training());
  v1::StepResponse response;
  ASSERT_TRUE(resting.Step(StepOf("resting", resting_joined, 1, 0, {}), chunks, &response));
  ASSERT_TRUE(resting.granted());
  WireStream other(wire_->training());
  ASSERT_TRUE(other.WriteHeader(StepOf("other", other_joined, 1, 0, {})));
  ASSERT_TRUE(other.ReadGrant());
  // The first one has its grant still, and uses it: its chunks wait for the other's end.
  ASSERT_TRUE(resting.WriteHeader(StepOf("resting", resting_joined, 2, 1, {})));
  for (const auto& chunk : chunks) ASSERT_TRUE(resting.Write(chunk));
  ASSERT_TRUE(resting.WriteCommit());
  for (const auto& chunk : chunks) ASSERT_TRUE(other.Write(chunk));
  ASSERT_TRUE(other.WriteCommit());
  ASSERT_TRUE(other.ReadReply(&response));
  EXPECT_EQ(response.applied_version(), 1u);
  EXPECT_TRUE(other.Finish().ok());
  ASSERT_TRUE(resting.ReadReply(&response));
  EXPECT_EQ(response.applied_version(), 2u);
  EXPECT_TRUE(resting.Finish().ok());
  ExpectNothingHeld();
}

// Not even for as long as its stream is open does anybody keep memory that another waits for: two
// streams, each with a contribution after the other, take turns.
TEST_F(ScarceMemoryTest, BusyStreamHandsItsMemoryToWhoeverWaits) {
  const v1::JoinResponse joined[] = {CreateAndJoin("a"), CreateAndJoin("b")};
  const auto chunks = ChunksOf(Gradient(kElements, 1), kMinElements);
  WireStream a(wire_->training());
  WireStream b(wire_->training());
  WireStream* streams[] = {&a, &b};
  const char* names[] = {"a", "b"};
  ASSERT_TRUE(a.WriteHeader(StepOf("a", joined[0], 1, 0, {})));
  ASSERT_TRUE(a.ReadGrant());
  for (uint64_t turn = 0; turn < 20; ++turn) {
    WireStream& busy = *streams[turn % 2];  // its header is there, and its grant
    WireStream& patient = *streams[(turn + 1) % 2];
    const uint64_t next = (turn + 1) / 2 + 1;
    ASSERT_TRUE(patient.WriteHeader(
        StepOf(names[(turn + 1) % 2], joined[(turn + 1) % 2], next, next - 1, {})));
    // It stands in the line before the busy one is done, which would else keep what it has.
    for (int tries = 0; tries < 5000 && !server_->streams_wait(); ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_TRUE(server_->streams_wait());
    for (const auto& chunk : chunks) ASSERT_TRUE(busy.Write(chunk));
    ASSERT_TRUE(busy.WriteCommit());
    v1::StepResponse response;
    ASSERT_TRUE(busy.ReadReply(&response));
    EXPECT_EQ(response.applied_version(), turn / 2 + 1);
    // Where the busy one was told that it may go on, it rests, and gives way all the same.
    ASSERT_TRUE(patient.granted() || patient.ReadGrant());
  }
  EXPECT_TRUE(streams[1]->Finish().ok());
  EXPECT_FALSE(streams[0]->Finish().ok());  // within a contribution
  ExpectNothingHeld();
}

TEST_F(ScarceMemoryTest, LayoutThatCanNeverFitIsRefused) {
  const v1::JoinResponse joined = CreateAndJoin("s", kElements + 1);
  const uint32_t checksum = wire_->Checksum("s");
  WireStream stream(wire_->training());
  ASSERT_TRUE(stream.WriteHeader(StepOf("s", joined, 1, 0, {})));
  const testing::WireError error = ErrorOf(stream.Finish());
  EXPECT_EQ(error.reason, "MEMORY_QUOTA");
  EXPECT_EQ(error.code, grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(wire_->Checksum("s"), checksum);
  ExpectNothingHeld();
}

TEST_F(StreamTest, StopTellsRestingStreamsAtOnceAndLetsOthersFinish) {
  const v1::JoinResponse joined = CreateAndJoin("s");
  const auto chunks = ChunksOf(Gradient(kElements, 1), kMinElements);
  v1::StepResponse response;
  WireStream resting(wire_->training());
  ASSERT_TRUE(resting.Step(StepOf("s", joined, 1, 0, {}), chunks, &response));
  WireStream silent(wire_->training());  // not even a header
  WireStream within(wire_->training());
  ASSERT_TRUE(within.WriteHeader(StepOf("s", joined, 2, 1, {})));
  ASSERT_TRUE(within.ReadGrant());
  ASSERT_TRUE(within.Write(chunks[0]));
  std::thread stop([&] { server_->Stop(absl::Seconds(60)); });
  v1::StreamStepResponse frame;
  EXPECT_FALSE(resting.Read(&frame));
  const testing::WireError told = ErrorOf(resting.Finish());
  EXPECT_EQ(told.reason, "DRAINING");
  EXPECT_TRUE(told.has_retry_info);
  EXPECT_FALSE(silent.Read(&frame));
  EXPECT_EQ(ErrorOf(silent.Finish()).reason, "DRAINING");
  for (size_t index = 1; index < chunks.size(); ++index) ASSERT_TRUE(within.Write(chunks[index]));
  ASSERT_TRUE(within.WriteCommit());
  ASSERT_TRUE(within.ReadReply(&response));
  EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
  EXPECT_EQ(response.applied_version(), 2u);
  EXPECT_FALSE(within.Read(&frame));
  EXPECT_EQ(ErrorOf(within.Finish()).reason, "DRAINING");
  const auto before = std::chrono::steady_clock::now();
  stop.join();
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(20));
  ExpectNothingHeld();
}

TEST_F(StreamTest, ServerStopsWithStreamsThatNobodyReads) {
  const v1::JoinResponse joined = CreateAndJoin("s", kLarge);
  const auto chunks = ChunksOf(Gradient(kLarge, 1), kMinElements);
  WireStream stream(wire_->training());
  ASSERT_TRUE(stream.WriteHeader(StepOf("s", joined, 1, 0, {})));
  ASSERT_TRUE(stream.ReadGrant());
  for (const auto& chunk : chunks) ASSERT_TRUE(stream.Write(chunk));
  ASSERT_TRUE(stream.WriteCommit());
  while (wire_->Get("s").version() == 0) std::this_thread::yield();
  server_->Stop(absl::Milliseconds(300));
  ExpectNothingHeld();
}

}  // namespace
}  // namespace talweg
