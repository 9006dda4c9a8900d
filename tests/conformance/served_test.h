// SPDX-License-Identifier: Apache-2.0
//
// The base of the conformance tests: a server on loopback in this process, and a client of it that
// adds nothing to the generated stubs. For tests only.
#pragma once

#include <memory>
#include <utility>

#include "gtest/gtest.h"
#include "server/server.h"
#include "tests/support/wire_client.h"

namespace talweg::testing {

class ServedTest : public ::testing::Test {
 protected:
  void SetUp() override { Start({}); }

  // Replaces the server with a new one that has these options, a port of its own and two threads.
  void Start(server::ServerOptions options) {
    options.address = "127.0.0.1:0";
    options.num_threads = 2;
    auto started = server::Server::Start(options);
    ASSERT_TRUE(started.ok()) << started.status();
    wire_.reset();
    server_ = *std::move(started);
    wire_ = std::make_unique<WireClient>(server_->address());
  }

  std::unique_ptr<server::Server> server_;
  std::unique_ptr<WireClient> wire_;
};

}  // namespace talweg::testing
