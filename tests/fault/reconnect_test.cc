// SPDX-License-Identifier: Apache-2.0
//
// How soon a client is back after its server was away.
#include <signal.h>

#include <chrono>
#include <future>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "gtest/gtest.h"
#include "tests/support/server_process.h"

namespace talweg {
namespace {

using testing::ServerProcess;
using Clock = std::chrono::steady_clock;

// While nobody waits for its connection, gRPC moves it once in 5 s, and a dial takes several moves:
// a client that sleeps between its attempts comes back after 6 to 10 s.
constexpr std::chrono::seconds kSoon{5};
constexpr std::chrono::seconds kAway{3};

TEST(ReconnectTest, ClientIsBackSoonAfterItsServer) {
  auto server = std::make_unique<ServerProcess>(std::vector<std::string>{"--log_level=error"});
  const std::string address = server->address();
  const Client client = Client::Connect(address).value();
  ASSERT_TRUE(client.ListSessions().ok());
  server->Signal(SIGKILL);
  server->Wait();
  std::future<Clock::time_point> back = std::async(std::launch::async, [&] {
    EXPECT_TRUE(client.ListSessions().ok());
    return Clock::now();
  });
  std::this_thread::sleep_for(kAway);
  server = std::make_unique<ServerProcess>(
      std::vector<std::string>{"--log_level=error", "--address=" + address});
  const Clock::time_point open = Clock::now();
  const std::chrono::duration<double> took = back.get() - open;
  std::cout << "back " << took.count() << " s after the server\n";
  EXPECT_LT(took, kSoon);
}

}  // namespace
}  // namespace talweg
