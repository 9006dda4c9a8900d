// SPDX-License-Identifier: Apache-2.0
//
// The way of a contribution through a stream's machine, and the frames that may not come.
#include "server/rpc/stream_machine.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/rpc/stream_machine_testing.h"

namespace talweg::server {
namespace {

// --- The way of a contribution.

TEST_F(StreamMachineTest, MemoryIsAskedForOnceTheSessionIsMade) {
  Lead(At::kUnmade);
  EXPECT_EQ(seen_->made_asked, 1);
  EXPECT_EQ(seen_->asked, 0);
  machine_->SessionMade(absl::OkStatus());
  EXPECT_EQ(seen_->asked, 1);
  EXPECT_EQ(seen_->grants, 0);
  Grant();
  EXPECT_EQ(seen_->grants, 1);
  EXPECT_EQ(held(), kBytes);
}

TEST_F(StreamMachineTest, ASessionThatCouldNotBeMadeEndsTheStream) {
  Lead(At::kUnmade);
  machine_->SessionMade(core::MakeError(core::Reason::kSessionDeleted, "gone"));
  ExpectEnd("SESSION_DELETED");
  EXPECT_EQ(seen_->asked, 0);
}

TEST_F(StreamMachineTest, MemoryThatCanNeverBeEndsTheStream) {
  Lead(At::kUnmade);
  seen_->refusal = core::MakeError(core::Reason::kMemoryQuota, "too large");
  machine_->SessionMade(absl::OkStatus());
  ExpectEnd("MEMORY_QUOTA");
}

TEST_F(StreamMachineTest, TheSessionGetsTheContributionWhole) {
  Lead(At::kJudging);
  ASSERT_EQ(seen_->steps.size(), 1u);
  const StepInput& input = seen_->steps[0];
  EXPECT_EQ(input.contribution.worker, "a");
  EXPECT_EQ(input.contribution.sequence, 1u);
  EXPECT_EQ(input.losses, std::vector<double>{0.5});
  EXPECT_FALSE(input.is_difference);
  const absl::Span<const float> values = std::as_const(*input.staged).values();
  EXPECT_EQ(std::vector<float>(values.begin(), values.end()), (std::vector<float>{1, 2, 3, 4, 5}));
  EXPECT_EQ(std::as_const(*input.staged).SquaredNorms(), std::vector<double>{55});
}

TEST_F(StreamMachineTest, AnAbstentionIsHeaderAndCommitAndWaitsForNoMemory) {
  machine_->Take(Abstention());
  EXPECT_TRUE(machine_->TakesFrames());
  machine_->Take(Commit());
  ASSERT_EQ(seen_->steps.size(), 1u);
  EXPECT_TRUE(seen_->steps[0].contribution.abstains);
  EXPECT_EQ(seen_->steps[0].staged, nullptr);
  machine_->SessionMade(absl::OkStatus());
  EXPECT_EQ(seen_->asked, 0);  // before there is anything to put there
  machine_->Judged(Outcome(core::Verdict::kAbstained), true);
  EXPECT_EQ(seen_->replies.size(), 1u);
  EXPECT_EQ(seen_->asked, 1);  // for the next contribution
  Grant();
  EXPECT_EQ(seen_->grants, 1);
  EXPECT_TRUE(seen_->ends.empty());
}

TEST_F(StreamMachineTest, AClientThatWaitsForItsGrantToAbstainGetsOne) {
  machine_->Take(Abstention());
  machine_->SessionMade(absl::OkStatus());
  Grant();
  EXPECT_EQ(seen_->grants, 1);
  machine_->Take(Commit());
  machine_->Judged(Outcome(core::Verdict::kAbstained), true);
  EXPECT_EQ(seen_->grants, 2);  // as with every reply
  EXPECT_EQ(seen_->asked, 1);
  machine_->ReplyMade();
  for (const auto& frame : {Header(2), Chunk(), Commit()}) machine_->Take(frame);
  EXPECT_EQ(seen_->steps.size(), 2u);
  EXPECT_TRUE(seen_->ends.empty());
}

TEST_F(StreamMachineTest, AnAbstentionIsJudgedWhileItsStreamStandsInTheLineForMemory) {
  machine_->Take(Abstention());
  machine_->SessionMade(absl::OkStatus());
  EXPECT_EQ(seen_->asked, 1);
  machine_->Take(Commit());
  machine_->Judged(Outcome(core::Verdict::kAbstained), true);
  machine_->ReplyMade();
  EXPECT_EQ(seen_->asked, 1);  // once is enough
  machine_->Take(Header(2));
  Grant();
  EXPECT_EQ(seen_->grants, 1);
  for (const auto& frame : {Chunk(), Commit()}) machine_->Take(frame);
  EXPECT_EQ(seen_->steps.size(), 2u);
  EXPECT_TRUE(seen_->ends.empty());
}

TEST_F(StreamMachineTest, AnAbstentionNeedsNoMemoryThatItsStreamHasGivenUp) {
  Lead(At::kYielded);
  EXPECT_EQ(held(), 0u);
  machine_->Take(Abstention(2));
  EXPECT_TRUE(machine_->TakesFrames());
  machine_->Take(Commit());
  EXPECT_EQ(seen_->asked, 1);
  ASSERT_EQ(seen_->steps.size(), 2u);
  machine_->Judged(Outcome(core::Verdict::kAbstained), true);
  machine_->ReplyMade();
  // The grant of old is as good as ever: memory is asked for with the next gradient.
  machine_->Take(Header(3));
  EXPECT_FALSE(machine_->TakesFrames());
  EXPECT_EQ(seen_->asked, 2);
  Grant();
  for (const auto& frame : {Chunk(), Commit()}) machine_->Take(frame);
  EXPECT_EQ(seen_->steps.size(), 3u);
  EXPECT_TRUE(seen_->ends.empty());
}

TEST_F(StreamMachineTest, AnAbstentionHasNoChunks) {
  machine_->Take(Abstention());
  machine_->SessionMade(absl::OkStatus());
  Grant();
  machine_->Take(Chunk());
  ExpectEnd("FRAME_UNEXPECTED", "chunk");
}

TEST_F(StreamMachineTest, ADifferenceIsHandedOverAsOne) {
  Lead(At::kOpen);
  machine_->Take(Chunk(v1::SECTION_KIND_DIFFERENCE));
  machine_->Take(Commit());
  EXPECT_TRUE(seen_->steps.at(0).is_difference);
}

TEST_F(StreamMachineTest, TheAnswerIsSentAndTheNextGrantWithIt) {
  Lead(At::kReplying);
  EXPECT_EQ(seen_->replies.size(), 1u);
  EXPECT_EQ(seen_->grants, 2);
  EXPECT_EQ(seen_->asked, 1);  // it kept what it had
  EXPECT_EQ(held(), kBytes);
}

TEST_F(StreamMachineTest, AContributionIsHandedOverWhenTheReplyBeforeIsMade) {
  Lead(At::kWholeAgain);
  EXPECT_EQ(seen_->steps.size(), 1u);
  machine_->ReplyMade();
  ASSERT_EQ(seen_->steps.size(), 2u);
  EXPECT_EQ(seen_->steps[1].contribution.sequence, 2u);
  Judge();
  EXPECT_EQ(seen_->replies.size(), 2u);
  EXPECT_EQ(seen_->grants, 3);
}

TEST_F(StreamMachineTest, AContributionThatFailsEndsTheStreamAndNamesItsField) {
  Lead(At::kJudging);
  machine_->Judged(core::MakeError(core::Reason::kVersionAhead, "ahead", "header.base_version"),
                   true);
  ExpectEnd("VERSION_AHEAD", "header.header.base_version");
  EXPECT_TRUE(seen_->replies.empty());
}

// --- Frames that may not come, or not yet.

TEST_F(StreamMachineTest, NothingMayComeBeforeTheGrant) {
  for (const At at : {At::kUnmade, At::kAsking}) {
    for (const auto& frame : {Chunk(), Commit()}) {
      Lead(at);
      EXPECT_TRUE(machine_->TakesFrames());  // to be refused
      machine_->Take(frame);
      ExpectEnd("FRAME_UNEXPECTED", "frame");
    }
  }
}

TEST_F(StreamMachineTest, FramesWaitWhileTheContributionBeforeThemHasTheFloor) {
  for (const At at : kAll) {
    Lead(at);
    const bool waits = at == At::kJudging || at == At::kWholeAgain || at == At::kAskingAgain;
    EXPECT_EQ(machine_->TakesFrames(), !waits) << static_cast<int>(at);
  }
}

TEST_F(StreamMachineTest, FramesComeInTheirOrder) {
  Lead(At::kStart);
  machine_->Take(Chunk());
  ExpectEnd("FRAME_UNEXPECTED", "chunk");
  Lead(At::kOpen);
  machine_->Take(Header(2));
  ExpectEnd("FRAME_UNEXPECTED", "header");
  Lead(At::kOpen);
  machine_->Take(Commit());
  ExpectEnd("CHUNK_MISPLACED", "commit");
  Lead(At::kWithin);
  machine_->Take(Chunk());
  ExpectEnd("CHUNK_MISPLACED", "chunk.section.begin_element");
  Lead(At::kResting);
  machine_->Take(Commit());
  ExpectEnd("FRAME_UNEXPECTED", "commit");
}

TEST_F(StreamMachineTest, UnknownFieldsAreSeenInEveryFrame) {
  Lead(At::kOpen);
  v1::StreamStepRequest frame = Chunk();
  v1::Section& section = *frame.mutable_chunk()->mutable_section();
  section.GetReflection()->MutableUnknownFields(&section)->AddVarint(77, 1);
  machine_->Take(frame);
  ExpectEnd("FIELD_UNKNOWN", "chunk.section.77");
}

TEST_F(StreamMachineTest, HeadersAreChecked) {
  const auto refused = [this](const std::function<void(v1::StreamHeader&)>& bend,
                              const std::string& reason, const std::string& field) {
    Lead(At::kStart);
    v1::StreamStepRequest frame = Header();
    bend(*frame.mutable_header());
    machine_->Take(frame);
    ExpectEnd(reason, field);
  };
  using Proto = v1::StreamHeader;
  refused([](Proto& h) { h.clear_header(); }, "FIELD_REQUIRED", "header.header");
  refused([](Proto& h) { h.mutable_header()->clear_worker(); }, "FIELD_REQUIRED",
          "header.header.worker");
  refused([](Proto& h) { h.mutable_header()->set_session_id("nobody"); }, "SESSION_NOT_FOUND", "");
  refused([](Proto& h) { h.mutable_header()->set_history(8); }, "HISTORY_CHANGED", "");
  refused([](Proto& h) { h.mutable_reply()->set_max_reply_bytes(1); }, "FIELD_OUT_OF_RANGE",
          "header.reply.max_reply_bytes");
}

TEST_F(StreamMachineTest, AStreamIsForOneSession) {
  Lead(At::kResting);
  v1::StreamStepRequest frame = Header(2);
  frame.mutable_header()->mutable_header()->set_session_id("other");
  machine_->Take(frame);
  ExpectEnd("FIELD_OUT_OF_RANGE", "header.header.session_id");
}

// --- Signs of life.

TEST_F(StreamMachineTest, ChunksShowThatTheirSenderLivesAtMostOnceASecond) {
  Lead(At::kWithin);
  ASSERT_EQ(seen_->life.size(), 1u);
  EXPECT_EQ(seen_->life[0].worker, "a");
  EXPECT_EQ(seen_->life[0].history, kTestHistory);
  EXPECT_EQ(seen_->life[0].incarnation, 3u);
  const auto contribute = [this] {
    machine_->Take(Commit());
    Judge();
    machine_->ReplyMade();
    machine_->Take(Header(2));
    machine_->Take(Chunk());
  };
  now_ += absl::Milliseconds(999);
  contribute();
  EXPECT_EQ(seen_->life.size(), 1u);
  now_ += absl::Milliseconds(1);
  contribute();
  EXPECT_EQ(seen_->life.size(), 2u);
}

TEST_F(StreamMachineTest, AClientThatFallsSilentKeepsWhatItHas) {
  for (const At at : kAll) {
    SCOPED_TRACE(static_cast<int>(at));
    Lead(at);
    const uint64_t before = held();
    now_ += absl::Hours(24);
    EXPECT_EQ(AtRest(false), "none");
    EXPECT_EQ(held(), before);
    EXPECT_TRUE(seen_->ends.empty());
  }
}

}  // namespace
}  // namespace talweg::server
