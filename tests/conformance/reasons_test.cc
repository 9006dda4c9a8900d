// SPDX-License-Identifier: Apache-2.0
//
// Every reason that the wire can answer is provoked once: code, reason, field, and a session that
// is the same afterwards. The list of reasons is the server's own, so none can be forgotten.
#include "core/base/reasons.h"

#include <cmath>
#include <functional>
#include <optional>
#include <set>

#include "gtest/gtest.h"
#include "server/server.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::Bytes;
using testing::ErrorOf;
using testing::StepOf;
using testing::VectorSession;
using testing::WireClient;
using testing::WireError;

constexpr uint64_t kElements = 5;
const std::vector<float> kGradient = {1, 2, 3, 4, 5};

std::unique_ptr<server::Server> StartServer(server::ServerOptions options = {}) {
  options.address = "127.0.0.1:0";
  options.num_threads = 2;
  auto server = server::Server::Start(options);
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

class ReasonsTest : public ::testing::Test {
 protected:
  // A session "s" of five elements under Adam, one step old.
  void SetUp() override {
    server_ = StartServer({.memory_bytes = uint64_t{1} << 30});
    wire_ = std::make_unique<WireClient>(server_->address());
    ASSERT_TRUE(wire_->Create(VectorSession("s", kElements, "adam")).ok());
    joined_ = wire_->Join("s");
    ASSERT_TRUE(wire_->Step(StepOf("s", joined_, 10, 0, kGradient)).ok());
  }

  v1::StepRequest Next() const { return StepOf("s", joined_, 11, 1, kGradient); }

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
  std::set<std::string> provoked_;
  std::optional<uint32_t> checksum_;  // of "s", while it can be asked for
};

TEST_F(ReasonsTest, EveryReasonIsProvokedAndChangesNothing) {
  using Code = grpc::StatusCode;
  checksum_ = wire_->Checksum("s");

  {  // FIELD_UNKNOWN: a newer client's field, deep inside.
    v1::StepRequest request = Next();
    v1::ContributionHeader& header = *request.mutable_header();
    header.GetReflection()->MutableUnknownFields(&header)->AddVarint(4000, 1);
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_UNKNOWN", "header.4000");
    v1::CreateSessionRequest create = VectorSession("x", 3, "adam");
    v1::Adam& adam = *create.mutable_config()->mutable_optimizer()->mutable_adam();
    adam.GetReflection()->MutableUnknownFields(&adam)->AddFixed32(99, 1);
    Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "FIELD_UNKNOWN",
           "config.optimizer.adam.99");
  }
  {  // FIELD_REQUIRED
    v1::StepRequest request = Next();
    request.clear_header();
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_REQUIRED", "header");
    for (const char* field : {"session_id", "history", "worker", "incarnation", "sequence"}) {
      request = Next();
      v1::ContributionHeader& header = *request.mutable_header();
      header.GetReflection()->ClearField(&header, header.GetDescriptor()->FindFieldByName(field));
      Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_REQUIRED",
             std::string("header.") + field);
    }
    v1::CreateSessionRequest create = VectorSession("x", 3);
    create.mutable_config()->mutable_schedule()->clear_learning_rate();
    Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "FIELD_REQUIRED",
           "config.schedule.learning_rate");
    create = VectorSession("x", 3);
    create.mutable_config()->clear_optimizer();
    Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "FIELD_REQUIRED", "config.optimizer");
    create = VectorSession("x", 3);
    create.clear_initial_values();
    Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "FIELD_REQUIRED", "initial_values");
  }
  {  // FIELD_OUT_OF_RANGE
    v1::StepRequest request = Next();
    request.mutable_header()->set_worker("no spaces");
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE", "header.worker");
    request = Next();
    for (int count = 0; count < 17; ++count) request.mutable_header()->add_losses(1);
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE", "header.losses");
    request = Next();
    for (int count = 0; count < 1000000; ++count) request.add_sections();
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE", "sections");
    request = Next();
    request.mutable_reply()->set_data(static_cast<v1::ReplyData>(77));
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE", "reply.data");
    v1::PullRequest pull;
    pull.set_session_id("s");
    pull.set_begin_element(kElements + 1);
    std::vector<float> values;
    Expect(wire_->Pull(pull, &values), Code::INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE",
           "begin_element");
    Expect(Update("optimizer.adam.beta7", [](auto&) {}), Code::INVALID_ARGUMENT,
           "FIELD_OUT_OF_RANGE", "update_mask.paths[0]");
  }
  // FIELD_IMMUTABLE
  Expect(
      Update("optimizer.adam.amsgrad",
             [](auto& config) { config.mutable_optimizer()->mutable_adam()->set_amsgrad(true); }),
      Code::INVALID_ARGUMENT, "FIELD_IMMUTABLE", "config.optimizer.adam.amsgrad");
  Expect(
      Update("optimizer.momentum.beta",
             [](auto& config) { config.mutable_optimizer()->mutable_momentum()->set_beta(0.5); }),
      Code::INVALID_ARGUMENT, "FIELD_IMMUTABLE", "config.optimizer");
  Expect(Update("layout", [](auto& config) { config.mutable_layout(); }), Code::INVALID_ARGUMENT,
         "FIELD_IMMUTABLE", "update_mask.paths[0]");
  // HYPERPARAMETER_OUT_OF_RANGE
  Expect(Update("optimizer.adam.beta1",
                [](auto& config) { config.mutable_optimizer()->mutable_adam()->set_beta1(1); }),
         Code::INVALID_ARGUMENT, "HYPERPARAMETER_OUT_OF_RANGE", "config.optimizer.adam.beta1");
  {
    v1::CreateSessionRequest create = VectorSession("x", 3);
    create.mutable_config()->mutable_schedule()->set_learning_rate(std::nan(""));
    Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "HYPERPARAMETER_OUT_OF_RANGE",
           "config.schedule.learning_rate");
  }
  {  // LAYOUT_INVALID
    v1::CreateSessionRequest create = VectorSession("x", 3);
    create.mutable_config()->mutable_layout()->clear_tensors();
    Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "LAYOUT_INVALID",
           "config.layout.tensors");
    create = VectorSession("x", 3);
    create.mutable_config()->mutable_layout()->mutable_tensors(0)->add_shape(uint64_t{1} << 63);
    Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "LAYOUT_INVALID",
           "config.layout.tensors[0].shape");
  }
  {  // INITIAL_VALUES_INVALID
    v1::CreateSessionRequest create = VectorSession("x", 3);
    v1::InitialValueRule& idle = *create.mutable_initial_values()->mutable_seeded()->add_rules();
    idle.set_tensors("v");
    idle.mutable_constant();
    Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "INITIAL_VALUES_INVALID",
           "initial_values.seeded.rules[1].tensors");
    create = VectorSession("x", 3);
    v1::Section& section = *create.mutable_initial_values()->mutable_uploaded();
    section.set_kind(v1::SECTION_KIND_PARAMETERS);
    section.set_data(Bytes({1, std::nanf(""), 3}));
    Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "INITIAL_VALUES_INVALID",
           "initial_values.uploaded.data");
  }
  {  // The sections of a contribution.
    v1::StepRequest request = Next();
    request.clear_sections();
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "SECTION_MISSING", "sections");
    request = Next();
    *request.add_sections() = request.sections(0);
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "SECTION_REPEATED", "sections[1]");
    request = Next();
    request.mutable_sections(0)->set_kind(v1::SECTION_KIND_PARAMETERS);
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "SECTION_UNEXPECTED", "sections[0].kind");
    request = Next();
    request.mutable_sections(0)->mutable_data()->resize((kElements - 1) * sizeof(float));
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "SECTION_SIZE_MISMATCH",
           "sections[0].data");
  }
  {  // FRAME_UNEXPECTED, CHUNK_MISPLACED, CHUNK_CORRUPT; stream_ends_test.cc has many more of each
    const auto end_of = [&](const std::vector<v1::StreamStepRequest>& frames) {
      testing::WireStream stream(wire_->training());
      for (const v1::StreamStepRequest& frame : frames) {
        if (!stream.Write(frame)) break;
      }
      return stream.Finish();
    };
    v1::StreamStepRequest header;
    *header.mutable_header()->mutable_header() = Next().header();
    v1::StreamStepRequest chunk = testing::ChunksOf(kGradient, kElements).front();
    v1::StreamStepRequest commit;
    commit.mutable_commit();
    Expect(end_of({chunk}), Code::INVALID_ARGUMENT, "FRAME_UNEXPECTED", "chunk");
    const grpc::Status early = end_of({header, commit});
    Expect(early, Code::INVALID_ARGUMENT, "CHUNK_MISPLACED", "commit");
    EXPECT_EQ(ErrorOf(early).info.metadata().at("expected_element"), "0");
    chunk.mutable_chunk()->set_crc32c(1);
    Expect(end_of({header, chunk, commit}), Code::DATA_LOSS, "CHUNK_CORRUPT", "chunk.crc32c");
  }
  {  // VERSION_AHEAD
    v1::StepRequest request = Next();
    request.mutable_header()->set_base_version(2);
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "VERSION_AHEAD", "header.base_version");
  }
  {  // FIELD_OUT_OF_RANGE: what belongs to the other shape of the call
    v1::StepRequest request = Next();
    request.mutable_reply()->set_checksums(true);
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE", "reply.checksums");
    request.mutable_reply()->clear_checksums();
    request.mutable_reply()->set_max_reply_bytes(1 << 20);
    testing::WireStream stream(wire_->training());
    ASSERT_TRUE(stream.WriteHeader(request));
    EXPECT_FALSE(stream.ReadGrant());
    Expect(stream.Finish(), Code::INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE",
           "header.reply.max_reply_bytes");
  }
  {  // REPLY_TOO_LARGE
    v1::StepRequest request = Next();
    request.mutable_reply()->set_max_reply_bytes(kElements * sizeof(float));
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "REPLY_TOO_LARGE",
           "reply.max_reply_bytes");
  }
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
  {  // WORKER_NOT_JOINED
    v1::StepRequest request = Next();
    request.mutable_header()->set_worker("stranger");
    Expect(wire_->Step(request), Code::FAILED_PRECONDITION, "WORKER_NOT_JOINED");
  }
  {  // SEQUENCE_TOO_OLD and SEQUENCE_REUSED
    Expect(wire_->Step(StepOf("s", joined_, 9, 1, kGradient)), Code::FAILED_PRECONDITION,
           "SEQUENCE_TOO_OLD", "header.sequence");
    Expect(wire_->Step(StepOf("s", joined_, 10, 0, {9, 9, 9, 9, 9})), Code::FAILED_PRECONDITION,
           "SEQUENCE_REUSED", "header.sequence");
  }
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
  {  // INCARNATION_FENCED, in a session of its own, so that "s" stays as it is
    ASSERT_TRUE(wire_->Create(VectorSession("f", kElements)).ok());
    const v1::JoinResponse old = wire_->Join("f");
    wire_->Join("f");
    Expect(wire_->Step(StepOf("f", old, 1, 0, kGradient)), Code::ABORTED, "INCARNATION_FENCED");
    v1::HeartbeatRequest heartbeat;
    v1::HeartbeatResponse beaten;
    heartbeat.set_session_id("f");
    heartbeat.set_worker("a");
    heartbeat.set_history(old.history());
    heartbeat.set_incarnation(old.incarnation());
    grpc::ClientContext heartbeat_context;
    Expect(wire_->sessions().Heartbeat(&heartbeat_context, heartbeat, &beaten), Code::ABORTED,
           "INCARNATION_FENCED");
    v1::LeaveRequest leave;
    v1::LeaveResponse left;
    leave.set_session_id("f");
    leave.set_worker("nobody");
    leave.set_history(old.history());
    leave.set_incarnation(old.incarnation());
    grpc::ClientContext leave_context;
    Expect(wire_->sessions().Leave(&leave_context, leave, &left), Code::FAILED_PRECONDITION,
           "WORKER_NOT_JOINED");
    leave.set_history(1);
    grpc::ClientContext late_context;
    Expect(wire_->sessions().Leave(&late_context, leave, &left), Code::ABORTED, "HISTORY_CHANGED");
  }
  {  // MEMORY_QUOTA
    const grpc::Status status = wire_->Create(VectorSession("big", uint64_t{1} << 38));
    Expect(status, Code::RESOURCE_EXHAUSTED, "MEMORY_QUOTA");
    EXPECT_TRUE(ErrorOf(status).has_quota_failure);
    EXPECT_EQ(ErrorOf(status).info.metadata().at("allowed_bytes"),
              std::to_string(uint64_t{1} << 30));
  }
  {  // SESSION_DELETED: a pull under way when its session goes
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
  {  // ROLE_MISSING and WRONG_METHOD
    ASSERT_TRUE(wire_->Create(VectorSession("roles", 5)).ok());
    v1::JoinRequest join;
    v1::JoinResponse joined;
    join.set_session_id("roles");
    join.set_worker("a");
    join.add_roles(v1::ROLE_SEARCH);
    grpc::ClientContext searching;
    Expect(wire_->sessions().Join(&searching, join, &joined), Code::FAILED_PRECONDITION,
           "WRONG_METHOD", "roles");
    join.set_roles(0, v1::ROLE_STATISTICS);
    grpc::ClientContext counting;
    ASSERT_TRUE(wire_->sessions().Join(&counting, join, &joined).ok());
    Expect(wire_->Step(StepOf("roles", joined, 1, 0, kGradient)), Code::FAILED_PRECONDITION,
           "ROLE_MISSING");
  }
  {  // TOO_MANY_WORKERS
    v1::CreateSessionRequest crowd = VectorSession("crowd", 1);
    // So long that the first lease runs when the last worker comes, however slow the machine.
    crowd.mutable_config()->mutable_aggregation()->set_lease_seconds(86400);
    crowd.mutable_config()->mutable_aggregation()->set_max_workers(100);
    crowd.mutable_config()->mutable_aggregation()->set_max_staleness(99);
    ASSERT_TRUE(wire_->Create(crowd).ok());
    v1::JoinRequest request;
    v1::JoinResponse response;
    request.set_session_id("crowd");
    grpc::Status status;
    for (int index = 0; index <= 100 && status.ok(); ++index) {
      request.set_worker("w" + std::to_string(index));
      grpc::ClientContext context;
      status = wire_->sessions().Join(&context, request, &response);
    }
    Expect(status, Code::RESOURCE_EXHAUSTED, "TOO_MANY_WORKERS");
    EXPECT_EQ(wire_->Get("crowd").num_workers(), 100u);
  }
  {  // TOO_MANY_SESSIONS
    const auto small = StartServer({.max_sessions = 1});
    WireClient other(small->address());
    ASSERT_TRUE(other.Create(VectorSession("one", 1)).ok());
    Expect(other.Create(VectorSession("two", 1)), Code::RESOURCE_EXHAUSTED, "TOO_MANY_SESSIONS");
  }

  checksum_.reset();
  {  // DRAINING, last: a call that asked for the checksum would be refused too
    server_->Refuse();
    const grpc::Status status = wire_->Step(Next());
    Expect(status, Code::UNAVAILABLE, "DRAINING");
    EXPECT_TRUE(ErrorOf(status).has_retry_info);
  }

  // STATE_CORRUPT concerns bytes at rest, which no call of this version reads; the session room's
  // test provokes it.
  for (const core::ReasonRow& row : core::Reasons()) {
    if (row.reason == core::Reason::kStateCorrupt) continue;
    EXPECT_TRUE(provoked_.contains(std::string(row.name))) << row.name << " was not provoked";
  }
}

TEST_F(ReasonsTest, ErrorsConsumeNoSequence) {
  v1::StepRequest request = Next();
  request.mutable_sections(0)->mutable_data()->push_back('x');
  EXPECT_EQ(ErrorOf(wire_->Step(request)).reason, "SECTION_SIZE_MISMATCH");
  v1::StepResponse response;
  ASSERT_TRUE(wire_->Step(Next(), &response).ok());
  EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
  EXPECT_FALSE(response.replayed());
}

TEST_F(ReasonsTest, StaleContributionsGetTheirVerdict) {
  v1::StepResponse response;
  ASSERT_TRUE(wire_->Step(StepOf("s", joined_, 11, 0, kGradient), &response).ok());
  EXPECT_EQ(response.verdict(), v1::VERDICT_ROUND_CLOSED);
  ASSERT_TRUE(Update("aggregation.max_staleness", [](auto& config) {
                config.mutable_aggregation()->set_max_staleness(1);
              }).ok());
  ASSERT_TRUE(wire_->Step(StepOf("s", joined_, 12, 0, kGradient), &response).ok());
  EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
  EXPECT_EQ(response.report().staleness(), 1u);
  ASSERT_TRUE(wire_->Step(StepOf("s", joined_, 13, 0, kGradient), &response).ok());
  EXPECT_EQ(response.verdict(), v1::VERDICT_TOO_STALE);
  EXPECT_EQ(response.applied_version(), 2u);
}

}  // namespace
}  // namespace talweg
