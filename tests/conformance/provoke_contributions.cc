// SPDX-License-Identifier: Apache-2.0
//
// Provokes the reasons that concern contributions and members.
#include <string>
#include <vector>

#include "tests/conformance/reasons_test.h"
#include "tests/support/wire_client.h"

namespace talweg::testing {

void ReasonsTest::ProvokeSections() {
  // The sections of a contribution.
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
  Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "SECTION_SIZE_MISMATCH", "sections[0].data");
}

void ReasonsTest::ProvokeFrames() {
  // FRAME_UNEXPECTED, CHUNK_MISPLACED, CHUNK_CORRUPT; stream_ends_test.cc has many more of each
  const auto end_of = [&](const std::vector<v1::StreamStepRequest>& frames) {
    WireStream stream(wire_->training());
    for (const v1::StreamStepRequest& frame : frames) {
      if (!stream.Write(frame)) break;
    }
    return stream.Finish();
  };
  v1::StreamStepRequest header;
  *header.mutable_header()->mutable_header() = Next().header();
  v1::StreamStepRequest chunk = ChunksOf(kGradient, kElements).front();
  v1::StreamStepRequest commit;
  commit.mutable_commit();
  Expect(end_of({chunk}), Code::INVALID_ARGUMENT, "FRAME_UNEXPECTED", "chunk");
  const grpc::Status early = end_of({header, commit});
  Expect(early, Code::INVALID_ARGUMENT, "CHUNK_MISPLACED", "commit");
  EXPECT_EQ(ErrorOf(early).info.metadata().at("expected_element"), "0");
  chunk.mutable_chunk()->set_crc32c(1);
  Expect(end_of({header, chunk, commit}), Code::DATA_LOSS, "CHUNK_CORRUPT", "chunk.crc32c");
}

void ReasonsTest::ProvokeRefusedSteps() {
  {  // VERSION_AHEAD
    v1::StepRequest request = Next();
    request.mutable_header()->set_base_version(2);
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "VERSION_AHEAD", "header.base_version");
  }
  {  // REPLY_TOO_LARGE
    v1::StepRequest request = Next();
    request.mutable_reply()->set_max_reply_bytes(kElements * sizeof(float));
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "REPLY_TOO_LARGE",
           "reply.max_reply_bytes");
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
}

void ReasonsTest::ProvokeFencing() {
  // INCARNATION_FENCED, in a session of its own, so that "s" stays as it is
  ASSERT_TRUE(wire_->Create(VectorSession("f", kElements)).ok());
  const v1::JoinResponse old = wire_->Join("f");
  wire_->Join("f");
  Expect(wire_->Step(StepOf("f", old, 1, 0, kGradient)), Code::ABORTED, "INCARNATION_FENCED");
  const auto heartbeat = PlaceRequest<v1::HeartbeatRequest>("f", old, "a");
  v1::HeartbeatResponse beaten;
  grpc::ClientContext heartbeat_context;
  Expect(wire_->sessions().Heartbeat(&heartbeat_context, heartbeat, &beaten), Code::ABORTED,
         "INCARNATION_FENCED");
  auto leave = PlaceRequest<v1::LeaveRequest>("f", old, "nobody");
  v1::LeaveResponse left;
  grpc::ClientContext leave_context;
  Expect(wire_->sessions().Leave(&leave_context, leave, &left), Code::FAILED_PRECONDITION,
         "WORKER_NOT_JOINED");
  leave.set_history(1);
  grpc::ClientContext late_context;
  Expect(wire_->sessions().Leave(&late_context, leave, &left), Code::ABORTED, "HISTORY_CHANGED");
}

void ReasonsTest::ProvokeRoles() {
  // ROLE_MISSING and WRONG_METHOD
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

void ReasonsTest::ProvokeTooManyWorkers() {
  // TOO_MANY_WORKERS
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

}  // namespace talweg::testing
