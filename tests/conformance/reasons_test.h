// SPDX-License-Identifier: Apache-2.0
//
// What provokes every reason that the wire can answer, for reasons_test.cc alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/server.h"
#include "tests/support/wire_client.h"

namespace talweg::testing {

// A server on loopback with these options, a port of its own and two threads.
inline std::unique_ptr<server::Server> StartServer(server::ServerOptions options = {}) {
  options.address = "127.0.0.1:0";
  options.num_threads = 2;
  auto server = server::Server::Start(options);
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

// A server with a session "s", and one function for each kind of error. Each of them provokes some
// reasons and expects of every error what Expect says.
class ReasonsTest : public ::testing::Test {
 public:
  // provoke_configurations.cc
  void ProvokeUnknownFields();
  void ProvokeMissingFields();
  void ProvokeValuesOutOfRange();
  void ProvokeLiveChanges();
  void ProvokeLayouts();
  void ProvokeInitialValues();
  void ProvokeUploads();
  // provoke_contributions.cc
  void ProvokeSections();
  void ProvokeFrames();
  void ProvokeRefusedSteps();
  void ProvokeFencing();
  void ProvokeRoles();
  void ProvokeTooManyWorkers();
  // provoke_sessions.cc
  void ProvokePagesAndIds();
  void ProvokeVersionsAndHistories();
  void ProvokeUpdates();
  void ProvokeDeletion();
  void ProvokeLimits();

 protected:
  using Code = grpc::StatusCode;
  static constexpr uint64_t kElements = 5;
  inline static const std::vector<float> kGradient = {1, 2, 3, 4, 5};

  // A session "s" of five elements under Adam, one step old.
  void SetUp() override {
    server_ = StartServer({.memory_bytes = uint64_t{1} << 30});
    wire_ = std::make_unique<WireClient>(server_->address());
    ASSERT_TRUE(wire_->Create(VectorSession("s", kElements, "adam")).ok());
    joined_ = wire_->Join("s");
    ASSERT_TRUE(wire_->Step(StepOf("s", joined_, 10, 0, kGradient)).ok());
  }

  // The contribution that "s" takes next.
  v1::StepRequest Next() const { return StepOf("s", joined_, 11, 1, kGradient); }

  // Changes the field `path` of the configuration of "s" to what `set` sets.
  grpc::Status Update(const std::string& path, const std::function<void(v1::SessionConfig&)>& set) {
    v1::UpdateSessionRequest request;
    v1::UpdateSessionResponse response;
    request.set_session_id("s");
    request.mutable_update_mask()->add_paths(path);
    set(*request.mutable_config());
    grpc::ClientContext context;
    return wire_->sessions().UpdateSession(&context, request, &response);
  }

  // Expects this error, and that session "s" is the same as before it.
  void Expect(const grpc::Status& status, grpc::StatusCode code, const std::string& reason,
              const std::string& field = "") {
    const WireError error = ErrorOf(status);
    EXPECT_EQ(error.code, code) << error.message;
    EXPECT_EQ(error.reason, reason) << error.message;
    EXPECT_EQ(error.domain, "talweg");
    EXPECT_EQ(error.field, field) << error.message;
    EXPECT_FALSE(error.message.empty());
    provoked_.insert(reason);
    if (checksum_.has_value()) {
      EXPECT_EQ(wire_->Checksum("s"), *checksum_) << reason;
    }
  }

  std::unique_ptr<server::Server> server_;
  std::unique_ptr<WireClient> wire_;
  v1::JoinResponse joined_;
  std::set<std::string> provoked_;    // the reasons
  std::optional<uint32_t> checksum_;  // of "s", while it can be asked for
};

}  // namespace talweg::testing
