// SPDX-License-Identifier: Apache-2.0
//
// Memory that a stream gives up and asks for again, and every way to end it in every phase.
#include "gtest/gtest.h"
#include "server/rpc/stream_machine.h"
#include "server/rpc/stream_machine_testing.h"

namespace talweg::server {
namespace {

using StreamMachineEndsTest = StreamMachineTest;

// --- Memory given up, and asked for again.

TEST_F(StreamMachineEndsTest, AtRestItGivesUpItsMemoryWhenOthersWantIt) {
  for (const At at : {At::kReplying, At::kResting}) {
    Lead(at);
    EXPECT_TRUE(seen_->watching);
    EXPECT_EQ(held(), kBytes);
    machine_->Wanted();
    EXPECT_EQ(held(), 0u);
  }
}

TEST_F(StreamMachineEndsTest, WithinAContributionItKeepsItsMemory) {
  for (const At at : {At::kOpen, At::kWithin, At::kWholeAgain}) {
    Lead(at);
    EXPECT_FALSE(seen_->watching);
    machine_->Wanted();  // one that was on its way
    EXPECT_EQ(held(), kBytes);
  }
}

TEST_F(StreamMachineEndsTest, WhileItIsJudgedOnlyTheStepHoldsTheGradient) {
  Lead(At::kJudging);
  EXPECT_TRUE(seen_->watching);
  machine_->Wanted();
  EXPECT_EQ(held(), kBytes);  // the step's
  seen_->steps[0].staged = nullptr;
  EXPECT_EQ(held(), 0u);
  Judge();
  EXPECT_EQ(seen_->asked, 2);
  EXPECT_EQ(seen_->grants, 1);  // the next one comes with the memory
  Grant();
  EXPECT_EQ(seen_->grants, 2);
}

TEST_F(StreamMachineEndsTest, ItAsksAgainWithTheNextHeaderAndItsClientNeedNotKnow) {
  Lead(At::kAskingAgain);
  EXPECT_EQ(seen_->asked, 2);
  EXPECT_EQ(seen_->grants, 2);
  EXPECT_FALSE(machine_->TakesFrames());
  Grant();
  EXPECT_EQ(seen_->grants, 2);  // the client's grant is good
  EXPECT_TRUE(machine_->TakesFrames());
  machine_->Take(Chunk());
  machine_->Take(Commit());
  EXPECT_EQ(seen_->steps.size(), 2u);
}

TEST_F(StreamMachineEndsTest, ItGoesToTheEndOfTheLineIfOthersWaitWhenItIsJudged) {
  Lead(At::kJudging);
  seen_->others_wait = true;
  Judge();
  EXPECT_EQ(held(), 0u);
  EXPECT_EQ(seen_->asked, 2);
  // What it is granted then, at rest, it gives up again if others still wait.
  Grant();
  EXPECT_EQ(seen_->grants, 2);
  EXPECT_EQ(held(), 0u);
}

TEST_F(StreamMachineEndsTest, APendingContributionKeepsItsGradientAndTheStreamAsksForMore) {
  Lead(At::kJudging);
  // It may still be folded: the session holds it.
  machine_->Judged(Outcome(core::Verdict::kPending), true);
  EXPECT_EQ(held(), kBytes);
  EXPECT_EQ(seen_->asked, 2);
  seen_->steps[0].staged = nullptr;
  EXPECT_EQ(held(), 0u);
}

TEST_F(StreamMachineEndsTest, AHeaderThatComesWhileItAsksAtRestDoesNotAskTwice) {
  Lead(At::kJudging);
  seen_->others_wait = true;
  Judge();
  machine_->Take(Header(2));
  EXPECT_EQ(seen_->asked, 2);
  Grant();
  EXPECT_EQ(seen_->grants, 2);
  EXPECT_EQ(held(), kBytes);  // within a contribution it keeps what it has
}

// --- Ways to end.

TEST_F(StreamMachineEndsTest, DeletionEndsTheStreamInEveryPhase) {
  for (const At at : kAll) {
    if (at == At::kStart) continue;  // it has no session
    SCOPED_TRACE(static_cast<int>(at));
    Lead(at);
    machine_->SessionDeleted();
    ExpectEnd("SESSION_DELETED");
    machine_->LetGo();
    EXPECT_EQ(seen_->abandoned, at == At::kJudging ? 1 : 0);
  }
}

TEST_F(StreamMachineEndsTest, AClientThatGoesLeavesNothingBehindInAnyPhase) {
  for (const At at : kAll) {
    SCOPED_TRACE(static_cast<int>(at));
    Lead(at);
    machine_->LetGo();
    EXPECT_EQ(seen_->abandoned, at == At::kJudging ? 1 : 0);
    EXPECT_FALSE(seen_->asking);
    EXPECT_FALSE(seen_->watching);
    if (at == At::kJudging) {
      EXPECT_EQ(held(), kBytes);  // until the session lets go too
      seen_->steps.back().staged = nullptr;
    }
    EXPECT_EQ(held(), 0u);
    machine_->LetGo();
    EXPECT_EQ(seen_->abandoned, at == At::kJudging ? 1 : 0);  // once
  }
}

TEST_F(StreamMachineEndsTest, AServerThatStopsLetsOnlyWhatIsGrantedGoOn) {
  for (const At at : kAll) {
    SCOPED_TRACE(static_cast<int>(at));
    Lead(at);
    EXPECT_EQ(AtRest(false), "none");
    CloseGate();
    const bool goes_on = at == At::kOpen || at == At::kWithin || at == At::kJudging ||
                         at == At::kReplying || at == At::kWholeAgain;
    EXPECT_EQ(AtRest(false), goes_on ? "none" : "DRAINING");
  }
}

TEST_F(StreamMachineEndsTest, WhatWasGrantedBeforeTheStopIsAnsweredAndNothingIsGrantedThen) {
  Lead(At::kWithin);
  CloseGate();
  machine_->Take(Commit());
  ASSERT_EQ(seen_->steps.size(), 1u);
  Judge();
  EXPECT_EQ(seen_->replies.size(), 1u);
  EXPECT_EQ(seen_->grants, 1);
  EXPECT_EQ(held(), 0u);
  EXPECT_EQ(AtRest(false), "none");
  machine_->ReplyMade();
  EXPECT_EQ(AtRest(false), "DRAINING");
}

TEST_F(StreamMachineEndsTest, AHeaderAfterTheStopIsRefused) {
  Lead(At::kResting);
  CloseGate();
  machine_->Take(Header(2));
  ExpectEnd("DRAINING");
}

TEST_F(StreamMachineEndsTest, AClientThatSaysNoMoreEndsAtRestAndNotWithin) {
  for (const At at : kAll) {
    SCOPED_TRACE(static_cast<int>(at));
    Lead(at);
    const bool busy = at == At::kJudging || at == At::kReplying || at == At::kWholeAgain;
    const bool rests = at == At::kStart || at == At::kResting || at == At::kYielded;
    EXPECT_EQ(AtRest(true), busy ? "none" : rests ? "OK" : "FRAME_UNEXPECTED");
  }
}

TEST_F(StreamMachineEndsTest, NothingIsGrantedToAClientThatSaysNoMore) {
  Lead(At::kJudging);
  Judge(core::Verdict::kApplied, /*more_may_come=*/false);
  EXPECT_EQ(seen_->grants, 1);
  EXPECT_EQ(held(), 0u);
  EXPECT_EQ(seen_->replies.size(), 1u);
  machine_->ReplyMade();
  EXPECT_EQ(AtRest(true), "OK");
}

}  // namespace
}  // namespace talweg::server
