// SPDX-License-Identifier: Apache-2.0
//
// StreamStep over real connections: what it gives, what it refuses, and that nothing of a stream
// that breaks stays behind.
#include <chrono>
#include <functional>
#include <thread>

#include "core/base/reasons.h"
#include "gtest/gtest.h"
#include "server/server.h"
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

constexpr uint64_t kMinElements = 65536;  // of a float32 chunk that is not the last

std::vector<float> Gradient(uint64_t num_elements, uint64_t seed) {
  std::vector<float> gradient(num_elements);
  for (uint64_t index = 0; index < num_elements; ++index) {
    gradient[index] =
        static_cast<float>(static_cast<int64_t>((index + seed) * 2654435761 % 1001) - 500) / 64;
  }
  return gradient;
}

class StreamTest : public ::testing::Test {
 protected:
  void SetUp() override { Start({}); }

  void Start(server::ServerOptions options) {
    options.address = "127.0.0.1:0";
    options.num_threads = 2;
    auto started = server::Server::Start(options);
    ASSERT_TRUE(started.ok()) << started.status();
    wire_.reset();
    server_ = *std::move(started);
    wire_ = std::make_unique<WireClient>(server_->address());
  }

  // What a stream held goes when the pool has seen its end.
  void ExpectNothingHeld() {
    for (int tries = 0; tries < 5000 && server_->message_bytes() != 0; ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(server_->message_bytes(), 0u);
  }

  std::unique_ptr<server::Server> server_;
  std::unique_ptr<WireClient> wire_;
};

TEST_F(StreamTest, ContributionsFollowEachOtherOnOneStream) {
  constexpr uint64_t kElements = 3 * kMinElements + 4097;
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

}  // namespace
}  // namespace talweg
