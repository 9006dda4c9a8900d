// SPDX-License-Identifier: Apache-2.0
//
// Streams that share memory for one contribution take turns.
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/conformance/stream_test.h"
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
using testing::WireClient;
using testing::WireStream;

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
  // A stream that gives up while it waits must not hold up the next one.
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

// A stream that rests between two contributions keeps no memory that another stream waits for, and
// its client need not know.
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
  // The first stream still has its grant, and uses it: its chunks wait for the other stream's end.
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

// No stream keeps memory that another stream waits for, however long it is open: two streams, each
// with one contribution after the other, take turns.
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
    // The patient stream stands in the line before the busy stream is done. Otherwise the busy
    // stream would keep what it has.
    for (int tries = 0; tries < 5000 && !server_->streams_wait(); ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_TRUE(server_->streams_wait());
    for (const auto& chunk : chunks) ASSERT_TRUE(busy.Write(chunk));
    ASSERT_TRUE(busy.WriteCommit());
    v1::StepResponse response;
    ASSERT_TRUE(busy.ReadReply(&response));
    EXPECT_EQ(response.applied_version(), turn / 2 + 1);
    // The busy stream rests, so it gives way even if it was told that it may go on.
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

}  // namespace
}  // namespace talweg
