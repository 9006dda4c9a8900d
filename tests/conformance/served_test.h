// SPDX-License-Identifier: Apache-2.0
//
// A server on loopback, and a bare client of it.
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

  // Another one in its place, with these options, a port of its own and two threads.
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
