// SPDX-License-Identifier: Apache-2.0
//
// StreamStep over real connections: what it refuses, and that nothing of a stream that breaks stays
// behind.
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/conformance/stream_test.h"
#include "tests/support/proxy.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::ChunksOf;
using testing::ErrorOf;
using testing::Gradient;
using testing::kElements;
using testing::kLarge;
using testing::kMinElements;
using testing::StepOf;
using testing::StreamTest;
using testing::WireClient;
using testing::WireStream;

// The frames of a contribution as they should be, to be bent.
struct RightFrames {
  explicit RightFrames(const v1::JoinResponse& joined)
      : chunks(ChunksOf(Gradient(kElements, 1), kMinElements)) {
    *header.mutable_header()->mutable_header() = StepOf("s", joined, 1, 0, {}).header();
    commit.mutable_commit();
  }

  v1::StreamStepRequest HeaderWith(const std::function<void(v1::StreamHeader&)>& change) const {
    v1::StreamStepRequest frame = header;
    change(*frame.mutable_header());
    return frame;
  }

  v1::StreamStepRequest header;
  std::vector<v1::StreamStepRequest> chunks;  // four
  v1::StreamStepRequest commit;
};

v1::StreamStepRequest Bent(v1::StreamStepRequest frame,
                           const std::function<void(v1::Chunk&)>& bend) {
  bend(*frame.mutable_chunk());
  return frame;
}

// A stream that must end with an error of that reason and field.
struct WrongStream {
  std::string name;
  std::vector<v1::StreamStepRequest> frames;
  std::string reason;
  std::string field;
};

// Frames that come when others are due.
std::vector<WrongStream> WrongOrders(const RightFrames& right) {
  return {
      {"empty", {v1::StreamStepRequest()}, "FRAME_UNEXPECTED", "frame"},
      {"chunk first", {right.chunks[0]}, "FRAME_UNEXPECTED", "chunk"},
      {"commit first", {right.commit}, "FRAME_UNEXPECTED", "commit"},
      {"header twice", {right.header, right.header}, "FRAME_UNEXPECTED", "header"},
      {"header within",
       {right.header, right.chunks[0], right.header},
       "FRAME_UNEXPECTED",
       "header"},
      {"ends within", {right.header, right.chunks[0]}, "FRAME_UNEXPECTED", "frame"},
  };
}

// Elements that are not the ones that must come next.
std::vector<WrongStream> WrongPlaces(const RightFrames& right) {
  return {
      {"commit at once", {right.header, right.commit}, "CHUNK_MISPLACED", "commit"},
      {"commit early",
       {right.header, right.chunks[0], right.chunks[1], right.chunks[2], right.commit},
       "CHUNK_MISPLACED",
       "commit"},
      {"repeated",
       {right.header, right.chunks[0], right.chunks[0]},
       "CHUNK_MISPLACED",
       "chunk.section.begin_element"},
      {"a gap",
       {right.header, right.chunks[0], right.chunks[2]},
       "CHUNK_MISPLACED",
       "chunk.section.begin_element"},
      {"out of order",
       {right.header, right.chunks[1], right.chunks[0]},
       "CHUNK_MISPLACED",
       "chunk.section.begin_element"},
      {"overlap",
       {right.header, right.chunks[0],
        Bent(right.chunks[1],
             [](v1::Chunk& chunk) { chunk.mutable_section()->set_begin_element(7); })},
       "CHUNK_MISPLACED",
       "chunk.section.begin_element"},
      {"past the end",
       {right.header, right.chunks[0], right.chunks[1], right.chunks[2],
        Bent(right.chunks[3],
             [](v1::Chunk& c) { c.mutable_section()->mutable_data()->append(4, 'x'); })},
       "CHUNK_MISPLACED",
       "chunk.section.data"},
      {"after the end",
       {right.header, right.chunks[0], right.chunks[1], right.chunks[2], right.chunks[3],
        Bent(right.chunks[3],
             [](v1::Chunk& chunk) { chunk.mutable_section()->set_begin_element(kElements); })},
       "CHUNK_MISPLACED",
       "chunk.section.data"},
  };
}

// Chunks that are wrong by themselves.
std::vector<WrongStream> WrongChunks(const RightFrames& right) {
  return {
      {"too small",
       {right.header,
        Bent(right.chunks[0],
             [](v1::Chunk& c) { c.mutable_section()->mutable_data()->resize(4096); })},
       "FIELD_OUT_OF_RANGE",
       "chunk.section.data"},
      {"too large",
       {right.header,
        Bent(right.chunks[0],
             [](v1::Chunk& c) { c.mutable_section()->mutable_data()->resize(5 << 20); })},
       "CHUNK_MISPLACED",
       "chunk.section.data"},
      {"wrong checksum",
       {right.header, Bent(right.chunks[0], [](v1::Chunk& chunk) { chunk.set_crc32c(1); })},
       "CHUNK_CORRUPT",
       "chunk.crc32c"},
      {"wrong kind",
       {right.header,
        Bent(right.chunks[0],
             [](v1::Chunk& chunk) { chunk.mutable_section()->set_kind(v1::SECTION_KIND_UPDATE); })},
       "SECTION_UNEXPECTED",
       "chunk.section.kind"},
      {"half a number",
       {right.header, Bent(right.chunks[0],
                           [](v1::Chunk& c) { c.mutable_section()->mutable_data()->pop_back(); })},
       "SECTION_SIZE_MISMATCH",
       "chunk.section.data"},
      {"unknown field",
       {right.header, Bent(right.chunks[0],
                           [](v1::Chunk& chunk) {
                             v1::Section& section = *chunk.mutable_section();
                             section.GetReflection()->MutableUnknownFields(&section)->AddVarint(77,
                                                                                                1);
                           })},
       "FIELD_UNKNOWN",
       "chunk.section.77"},
  };
}

// Headers that lack something, or that name what is not there.
std::vector<WrongStream> WrongHeaders(const RightFrames& right) {
  return {
      {"no header within",
       {right.HeaderWith([](v1::StreamHeader& bent_header) { bent_header.clear_header(); })},
       "FIELD_REQUIRED",
       "header.header"},
      {"no worker",
       {right.HeaderWith(
           [](v1::StreamHeader& bent_header) { bent_header.mutable_header()->clear_worker(); })},
       "FIELD_REQUIRED",
       "header.header.worker"},
      {"unknown dtype of the reply",
       {right.HeaderWith([](v1::StreamHeader& bent_header) {
         bent_header.mutable_reply()->set_dtype(static_cast<v1::Dtype>(9));
       })},
       "FIELD_OUT_OF_RANGE",
       "header.reply.dtype"},
      {"no such session",
       {right.HeaderWith([](v1::StreamHeader& bent_header) {
         bent_header.mutable_header()->set_session_id("nobody");
       })},
       "SESSION_NOT_FOUND",
       ""},
      {"other history",
       {right.HeaderWith(
           [](v1::StreamHeader& bent_header) { bent_header.mutable_header()->set_history(7); })},
       "HISTORY_CHANGED",
       ""},
      {"stranger",
       {right.HeaderWith([](v1::StreamHeader& bent_header) {
          bent_header.mutable_header()->set_worker("stranger");
        }),
        right.chunks[0], right.chunks[1], right.chunks[2], right.chunks[3], right.commit},
       "WORKER_NOT_JOINED",
       ""},
      {"version ahead",
       {right.HeaderWith([](v1::StreamHeader& bent_header) {
          bent_header.mutable_header()->set_base_version(9);
        }),
        right.chunks[0], right.chunks[1], right.chunks[2], right.chunks[3], right.commit},
       "VERSION_AHEAD",
       "header.header.base_version"},
  };
}

TEST_F(StreamTest, WrongFramesEndTheStreamAndChangeNothing) {
  const v1::JoinResponse joined = CreateAndJoin("s");
  CreateAndJoin("other");
  const RightFrames right(joined);
  ASSERT_EQ(right.chunks.size(), 4u);
  const uint32_t checksum = wire_->Checksum("s");
  std::vector<WrongStream> streams;
  for (const auto make : {WrongOrders, WrongPlaces, WrongChunks, WrongHeaders}) {
    for (WrongStream& wrong : make(right)) streams.push_back(std::move(wrong));
  }
  for (const WrongStream& wrong : streams) {
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
  ASSERT_TRUE(stream.Step(StepOf("s", joined, 1, 0, {}), right.chunks, &response));
  EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
  EXPECT_FALSE(response.replayed());
  // A stream is for one session.
  v1::StreamStepRequest elsewhere = right.HeaderWith(
      [](v1::StreamHeader& bent_header) { bent_header.mutable_header()->set_session_id("other"); });
  ASSERT_TRUE(stream.Write(elsewhere));
  EXPECT_EQ(ErrorOf(stream.Finish()).field, "header.header.session_id");
  ExpectNothingHeld();
}

// An error in a second contribution leaves the first one applied.
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
  // The connection is cut on the way up: after the header, each of four chunks, and the commit.
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
  // It is cut on the way down: after the grant and each data frame of the reply.
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
  // Neither client does anything: both are told.
  v1::StreamStepResponse frame;
  EXPECT_FALSE(resting.Read(&frame));
  EXPECT_FALSE(within.Read(&frame));
  EXPECT_EQ(ErrorOf(resting.Finish()).reason, "SESSION_DELETED");
  EXPECT_EQ(ErrorOf(within.Finish()).reason, "SESSION_DELETED");
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
