// SPDX-License-Identifier: Apache-2.0
//
// A server that stands still while workers join, or a network that does: attempts that were given
// up are looked at later, in any order.
#include <signal.h>

#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cpp/talweg/client.h"
#include "gtest/gtest.h"
#include "tests/support/proxy.h"
#include "tests/support/server_process.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::ErrorOf;
using testing::Proxy;
using testing::ServerProcess;
using testing::StepOf;
using testing::VectorSession;
using testing::WireClient;

class FrozenServerTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(wire_.Create(VectorSession("s", 3)).ok()); }

  ServerProcess server_{{"--log_level=error"}};
  WireClient wire_{server_.address()};
};

// Each attempt over a connection of its own, as after a deadline.
TEST_F(FrozenServerTest, AttemptsOfOneJoinAreOneIncarnationInAnyOrder) {
  constexpr size_t kAttempts = 8;
  std::vector<std::unique_ptr<WireClient>> connections;
  for (size_t attempt = 0; attempt < kAttempts; ++attempt) {
    connections.push_back(std::make_unique<WireClient>(server_.address()));
    connections.back()->Get("s");  // it stands
  }
  v1::JoinRequest request;
  request.set_session_id("s");
  request.set_worker("a");
  request.set_nonce("one process");
  std::vector<v1::JoinResponse> told(kAttempts);
  server_.Signal(SIGSTOP);
  std::vector<std::thread> attempts;
  for (size_t attempt = 0; attempt < kAttempts; ++attempt) {
    attempts.emplace_back([&, attempt] {
      grpc::ClientContext context;
      EXPECT_TRUE(connections[attempt]->sessions().Join(&context, request, &told[attempt]).ok());
    });
  }
  absl::SleepFor(absl::Milliseconds(200));
  server_.Signal(SIGCONT);
  for (std::thread& attempt : attempts) attempt.join();
  std::set<uint64_t> incarnations;
  for (const v1::JoinResponse& response : told) incarnations.insert(response.incarnation());
  EXPECT_EQ(incarnations.size(), 1u);
  EXPECT_TRUE(wire_.Step(StepOf("s", told[0], 1, 0, {1, 2, 3})).ok());

  // Another process fences it, and stays when one more attempt of the first process comes.
  request.set_nonce("another process");
  v1::JoinResponse newer;
  grpc::ClientContext replaces;
  ASSERT_TRUE(wire_.sessions().Join(&replaces, request, &newer).ok());
  EXPECT_GT(newer.incarnation(), told[0].incarnation());
  request.set_nonce("one process");
  v1::JoinResponse late;
  grpc::ClientContext comes_late;
  EXPECT_EQ(ErrorOf(wire_.sessions().Join(&comes_late, request, &late)).reason,
            "INCARNATION_FENCED");
  EXPECT_TRUE(wire_.Step(StepOf("s", newer, 1, 1, {1, 2, 3})).ok());
}

// The first attempt is given up, and reaches the server when the second one has worked.
TEST_F(FrozenServerTest, ClientIsNotFencedByItsOwnLateAttempt) {
  Proxy proxy(server_.port());
  ClientOptions options;
  options.retry.attempt_timeout = absl::Milliseconds(500);
  const Client client = Client::Connect(proxy.address(), options).value();
  ASSERT_TRUE(client.GetSession("s").ok());
  proxy.HoldRequests();
  Session session = client.Join("s", "a").value();
  proxy.DeliverLate();
  absl::SleepFor(absl::Milliseconds(300));  // for the server to look at it
  const absl::Status stepped = session.Step({1, 1, 1}, {}).status();
  EXPECT_TRUE(stepped.ok()) << stepped;
}

}  // namespace
}  // namespace talweg
