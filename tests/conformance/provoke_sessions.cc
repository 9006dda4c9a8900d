// SPDX-License-Identifier: Apache-2.0
//
// Provokes the reasons that concern sessions, versions and limits.
#include <cstdint>
#include <string>
#include <vector>

#include "tests/conformance/reasons_test.h"
#include "tests/support/wire_client.h"

namespace talweg::testing {

void ReasonsTest::ProvokePagesAndIds() {
  {  // PAGE_TOKEN_INVALID
    v1::ListSessionsRequest request;
    v1::ListSessionsResponse response;
    request.set_page_token("?");
    grpc::ClientContext context;
    Expect(wire_->sessions().ListSessions(&context, request, &response), Code::INVALID_ARGUMENT,
           "PAGE_TOKEN_INVALID", "page_token");
  }
  {  // SESSION_NOT_FOUND
    v1::StepRequest request = Next();
    request.mutable_header()->set_session_id("nobody");
    Expect(wire_->Step(request), Code::NOT_FOUND, "SESSION_NOT_FOUND");
  }
  {  // SESSION_EXISTS
    v1::CreateSessionRequest create = VectorSession("s", kElements, "adam");
    create.set_request_id("another");
    Expect(wire_->Create(create), Code::ALREADY_EXISTS, "SESSION_EXISTS");
  }
}

void ReasonsTest::ProvokeVersionsAndHistories() {
  {  // VERSION_GONE
    v1::PullRequest pull;
    pull.set_session_id("s");
    pull.set_version(0);
    std::vector<float> values;
    const grpc::Status status = wire_->Pull(pull, &values);
    Expect(status, Code::FAILED_PRECONDITION, "VERSION_GONE", "version");
    EXPECT_EQ(ErrorOf(status).info.metadata().at("version"), "1");
  }
  {  // HISTORY_CHANGED, before whatever else is wrong
    v1::StepRequest request = Next();
    request.mutable_header()->set_history(joined_.history() + 1);
    const grpc::Status status = wire_->Step(request);
    Expect(status, Code::ABORTED, "HISTORY_CHANGED");
    EXPECT_EQ(ErrorOf(status).info.metadata().at("history"), std::to_string(joined_.history()));
    EXPECT_EQ(ErrorOf(status).info.metadata().at("version"), "1");
    v1::PullRequest pull;
    pull.set_session_id("s");
    pull.set_history(1);
    std::vector<float> values;
    Expect(wire_->Pull(pull, &values), Code::ABORTED, "HISTORY_CHANGED");
    v1::DeleteSessionRequest remove;
    v1::DeleteSessionResponse removed;
    remove.set_session_id("s");
    remove.set_history(1);
    grpc::ClientContext context;
    const grpc::Status kept = wire_->sessions().DeleteSession(&context, remove, &removed);
    Expect(kept, Code::ABORTED, "HISTORY_CHANGED");
    EXPECT_EQ(ErrorOf(kept).info.metadata().at("version"), "1");
    v1::UpdateSessionRequest update;
    v1::UpdateSessionResponse updated;
    update.set_session_id("s");
    update.set_history(1);
    update.mutable_update_mask()->add_paths("nonsense");
    grpc::ClientContext update_context;
    Expect(wire_->sessions().UpdateSession(&update_context, update, &updated), Code::ABORTED,
           "HISTORY_CHANGED");
  }
}

void ReasonsTest::ProvokeUpdates() {
  {  // CONFIG_CHANGED
    v1::UpdateSessionRequest update;
    v1::UpdateSessionResponse updated;
    update.set_session_id("s");
    update.set_expected_config_version(77);
    update.mutable_config()->mutable_schedule()->set_learning_rate(0.125);
    update.mutable_update_mask()->add_paths("schedule.learning_rate");
    grpc::ClientContext context;
    const grpc::Status status = wire_->sessions().UpdateSession(&context, update, &updated);
    Expect(status, Code::ABORTED, "CONFIG_CHANGED", "expected_config_version");
    EXPECT_EQ(ErrorOf(status).info.metadata().at("config_version"),
              std::to_string(wire_->Get("s").config_version()));
    // What is there already is no change.
    update.mutable_config()->mutable_schedule()->set_learning_rate(
        wire_->Get("s").config().schedule().learning_rate());
    grpc::ClientContext again;
    EXPECT_TRUE(wire_->sessions().UpdateSession(&again, update, &updated).ok());
  }
}

void ReasonsTest::ProvokeDeletion() {
  // SESSION_DELETED: a pull under way when its session goes
  ASSERT_TRUE(wire_->Create(VectorSession("gone", 16 << 20)).ok());
  v1::PullRequest pull;
  pull.set_session_id("gone");
  grpc::ClientContext context;
  const auto reader = wire_->training().Pull(&context, pull);
  v1::PullResponse message;
  ASSERT_TRUE(reader->Read(&message));
  v1::DeleteSessionRequest remove;
  v1::DeleteSessionResponse removed;
  remove.set_session_id("gone");
  grpc::ClientContext delete_context;
  ASSERT_TRUE(wire_->sessions().DeleteSession(&delete_context, remove, &removed).ok());
  while (reader->Read(&message)) {
  }
  Expect(reader->Finish(), Code::ABORTED, "SESSION_DELETED");
}

void ReasonsTest::ProvokeLimits() {
  {  // MEMORY_QUOTA
    const grpc::Status status = wire_->Create(VectorSession("big", uint64_t{1} << 38));
    Expect(status, Code::RESOURCE_EXHAUSTED, "MEMORY_QUOTA");
    EXPECT_TRUE(ErrorOf(status).has_quota_failure);
    EXPECT_EQ(ErrorOf(status).info.metadata().at("allowed_bytes"),
              std::to_string(uint64_t{1} << 30));
  }
  {  // TOO_MANY_SESSIONS
    const auto small = StartServer({.max_sessions = 1});
    WireClient other(small->address());
    ASSERT_TRUE(other.Create(VectorSession("one", 1)).ok());
    Expect(other.Create(VectorSession("two", 1)), Code::RESOURCE_EXHAUSTED, "TOO_MANY_SESSIONS");
  }
}

}  // namespace talweg::testing
