// SPDX-License-Identifier: Apache-2.0
//
// Every reason that the wire can answer is provoked once: code, reason, field, and a session that
// is the same afterwards. The list of reasons is the server's own, so none can be forgotten.
#include "tests/conformance/reasons_test.h"

#include <string>

#include "core/base/reasons.h"
#include "gtest/gtest.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::ErrorOf;
using testing::ReasonsTest;
using testing::StepOf;

TEST_F(ReasonsTest, EveryReasonIsProvokedAndChangesNothing) {
  checksum_ = wire_->Checksum("s");
  for (const auto provoke :
       {&ReasonsTest::ProvokeUnknownFields, &ReasonsTest::ProvokeMissingFields,
        &ReasonsTest::ProvokeValuesOutOfRange, &ReasonsTest::ProvokeLiveChanges,
        &ReasonsTest::ProvokeLayouts, &ReasonsTest::ProvokeInitialValues,
        &ReasonsTest::ProvokeUploads, &ReasonsTest::ProvokeSections, &ReasonsTest::ProvokeFrames,
        &ReasonsTest::ProvokeRefusedSteps, &ReasonsTest::ProvokeFencing, &ReasonsTest::ProvokeRoles,
        &ReasonsTest::ProvokeTooManyWorkers, &ReasonsTest::ProvokePagesAndIds,
        &ReasonsTest::ProvokeVersionsAndHistories, &ReasonsTest::ProvokeUpdates,
        &ReasonsTest::ProvokeDeletion, &ReasonsTest::ProvokeLimits}) {
    (this->*provoke)();
    ASSERT_FALSE(HasFatalFailure());
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
  EXPECT_EQ(response.verdict(), v1::VERDICT_TOO_STALE);
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
