// SPDX-License-Identifier: Apache-2.0
//
// Hostile streams against a real server: it answers each, with a reason where it refuses; takes
// whole contributions alone; and holds nothing when they are over.
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "core/base/reasons.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "tests/fuzz/hostile_frames.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::ByteSource;
using testing::ErrorOf;
using testing::RandomBytes;
using testing::StepOf;
using testing::VectorSession;
using testing::WireClient;
using testing::WireStream;

bool IsReason(const std::string& reason) {
  for (const core::ReasonRow& row : core::Reasons()) {
    if (row.name == reason) return true;
  }
  return false;
}

TEST(StreamFuzzTest, HostileStreamsChangeNothingAndLeaveNothing) {
  const char* given = std::getenv("TALWEG_FUZZ_SEED");
  const uint64_t seed =
      given != nullptr
          ? std::strtoull(given, nullptr, 10)
          : static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  std::cout << "TALWEG_FUZZ_SEED=" << seed << std::endl;
  auto started = server::Server::Start(
      {.address = "127.0.0.1:0", .num_threads = 2, .message_bytes = uint64_t{8} << 20});
  ASSERT_TRUE(started.ok());
  const auto server = *std::move(started);
  WireClient wire(server->address());
  uint64_t answers = 0;
  uint64_t refusals = 0;
  for (const uint64_t num_elements : {uint64_t{5}, uint64_t{4097}, uint64_t{65536 + 3}}) {
    const std::string id = "s" + std::to_string(num_elements);
    ASSERT_TRUE(wire.Create(VectorSession(id, num_elements, "momentum")).ok());
    const v1::JoinResponse joined = wire.Join(id);
    uint64_t version = 0;
    uint64_t sequence = 1;
    uint32_t checksum = wire.Checksum(id);
    for (uint64_t number = 0; number < 1000; ++number) {
      SCOPED_TRACE(id + " case " + std::to_string(number));
      uint64_t state = seed * 1000003 + number;
      const std::string bytes = RandomBytes(400, state);
      ByteSource source(bytes);
      WireStream stream(wire.training());
      uint64_t taken = 0;
      bool open = false;
      uint64_t begin = 0;
      bool granted = false;
      while (!source.empty()) {
        v1::StreamStepRequest frame = testing::HostileFrame(source, open, begin, num_elements);
        if (frame.has_header() && !source.Once(32)) {
          *frame.mutable_header()->mutable_header() =
              StepOf(id, joined, sequence, version, {}).header();
        }
        if (!stream.Write(frame)) break;
        if (frame.has_header()) {
          open = true;
          begin = 0;
          // Some send chunks before they are told that they may: that is theirs to wait for.
          if (!granted && !source.Once(8)) {
            if (!stream.ReadGrant()) break;
            granted = true;
          }
        } else if (frame.has_chunk()) {
          const v1::Section& section = frame.chunk().section();
          begin += section.values_size() +
                   section.data().size() / (section.dtype() >= v1::DTYPE_BFLOAT16 ? 2u : 4u);
        } else if (frame.has_commit()) {
          v1::StepResponse response;
          if (!granted && !stream.ReadGrant()) break;
          granted = true;
          if (!stream.ReadReply(&response)) break;
          ++taken;
          ++sequence;
          version = response.data_version();
          open = false;
          if (source.Once(2)) break;
        }
      }
      if (source.Once(8)) stream.Cancel();
      const testing::WireError error = ErrorOf(stream.Finish());
      if (error.code != grpc::StatusCode::OK && error.code != grpc::StatusCode::CANCELLED) {
        EXPECT_TRUE(IsReason(error.reason)) << error.code << " " << error.message;
        ++refusals;
      }
      answers += taken;
      const v1::Session session = wire.Get(id);
      ASSERT_EQ(session.version(), version);
      if (taken == 0) {
        ASSERT_EQ(session.state_checksum(), checksum);
      }
      checksum = session.state_checksum();
    }
  }
  std::cout << answers << " contributions answered, " << refusals << " streams refused\n";
  EXPECT_GT(answers, 100u);
  EXPECT_GT(refusals, 100u);
  for (int tries = 0; tries < 5000 && server->message_bytes() != 0; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(server->message_bytes(), 0u);
}

}  // namespace
}  // namespace talweg
