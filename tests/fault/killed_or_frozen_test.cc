// SPDX-License-Identifier: Apache-2.0
//
// Workers that die or stand still: kill -9, SIGSTOP beyond the lease, successors under their name.
// After each fault every contribution must be where its worker was told that it is, and nowhere
// else. What needs no round is done in every mode.
#include <signal.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fault/process_fault.h"

namespace talweg {
namespace {

using testing::AnyModeFaultTest;
using testing::AsynchronousFaultTest;
using testing::BoundedStalenessFaultTest;
using testing::ProcessFaultTest;
using testing::WorkerProcess;

TEST_P(AnyModeFaultTest, KilledWorkersHoldNobodyUpAndTheirSuccessorsGoOn) {
  const std::vector<std::string> names = {"a", "b", "c", "d"};
  std::vector<WorkerProcess*> lives;
  for (const std::string& name : names) lives.push_back(&Start(name, How::kFree));
  for (size_t kill = 0; kill < 6; ++kill) {
    AwaitVersion(version() + 3);
    const size_t victim = kill * 3 % names.size();
    lives[victim]->Signal(SIGKILL);
    EXPECT_EQ(lives[victim]->Wait(), -SIGKILL);
    if (kill % 3 == 0) {
      // Nobody takes the place of the victim. If the others wait for it, its lease must run out
      // before they go on: no worker can be so many versions ahead before that.
      AwaitVersion(version() + 10);
      AwaitLive(3);
    }
    lives[victim] = &Start(names[victim], How::kFree);
    EXPECT_FALSE(lives[victim]->AwaitAnswers(2).sent.empty());
  }
  EndAll();
}

TEST_P(ProcessFaultTest, FrozenWorkerIsNotWaitedForAndGoesOnWhenItWakes) {
  WorkerProcess& a = Start("a", How::kDriven);
  WorkerProcess& b = Start("b", How::kDriven);
  WorkerProcess& c = Start("c", How::kDriven);
  StepTogether({&a, &b, &c});
  EXPECT_EQ(MembersOf(1), (std::vector<std::string>{"a", "b", "c"}));

  b.Freeze();
  StepTogether({&a, &c});  // This takes until the lease of b has run out.
  EXPECT_EQ(MembersOf(2), (std::vector<std::string>{"a", "c"}));
  StepTogether({&a, &c});
  EXPECT_EQ(MembersOf(3), (std::vector<std::string>{"a", "c"}));
  b.Wake();
  StepTogether({&b});
  WorkerProcess::Sent sent = b.Read().sent.at(2);
  EXPECT_EQ(sent.verdict, "VERDICT_ROUND_CLOSED");
  EXPECT_EQ(sent.base_version, 1u);
  StepTogether({&a, &b, &c});
  EXPECT_EQ(MembersOf(4), (std::vector<std::string>{"a", "b", "c"}));

  // Now b is frozen while it waits for its round: what it sent counts, it is no longer waited for
  // afterwards, and it gets its answer when it wakes.
  b.Step();
  AwaitJudgement(b);
  b.Freeze();
  StepTogether({&a, &c});
  EXPECT_EQ(MembersOf(5), (std::vector<std::string>{"a", "b", "c"}));
  StepTogether({&a, &c});
  EXPECT_EQ(MembersOf(6), (std::vector<std::string>{"a", "c"}));
  b.Wake();
  sent = b.AwaitAnswers(4).sent.at(4);
  EXPECT_EQ(sent.verdict, "VERDICT_APPLIED");
  EXPECT_EQ(sent.applied_version, 5u);
  EndAll();
}

TEST_P(BoundedStalenessFaultTest, SlowestWorkerIsWaitedForUntilItsLeaseRunsOut) {
  WorkerProcess& a = Start("a", How::kDriven);
  WorkerProcess& b = Start("b", How::kDriven);
  WorkerProcess& c = Start("c", How::kDriven);
  StepTogether({&a, &b, &c});
  EXPECT_EQ(version(), 3u);

  b.Freeze();
  StepTogether({&a, &c});
  EXPECT_LE(client_->GetSession(kSession).value().num_live_workers(), 2u);
  StepTogether({&a, &c});
  EXPECT_EQ(version(), 7u);
  b.Wake();
  AwaitLive(3);
  StepTogether({&a, &b, &c});
  WorkerProcess::Sent sent = b.Read().sent.at(2);
  EXPECT_EQ(sent.verdict, "VERDICT_APPLIED");
  EXPECT_EQ(sent.base_version, 3u);

  // Now b is frozen while it waits for the others: it has its version, and is waited for when the
  // others have caught up.
  b.Step();
  AwaitJudgement(b);
  b.Freeze();
  StepTogether({&a, &c});
  StepTogether({&a, &c});
  b.Wake();
  sent = b.AwaitAnswers(3).sent.at(3);
  EXPECT_EQ(sent.verdict, "VERDICT_APPLIED");
  EXPECT_EQ(sent.applied_version, 11u);
  EXPECT_EQ(MembersOf(11), std::vector<std::string>{"b"});
  EndAll();
}

TEST_P(AsynchronousFaultTest, FrozenWorkerHoldsNobodyUpAndIsTooStaleWhenItWakes) {
  WorkerProcess& a = Start("a", How::kDriven);
  WorkerProcess& b = Start("b", How::kDriven);
  StepTogether({&a, &b});
  b.Freeze();
  for (uint64_t step = 0; step <= kMaxStaleness; ++step) StepTogether({&a});
  EXPECT_EQ(version(), kMaxStaleness + 3);
  AwaitLive(1);
  b.Wake();
  StepTogether({&b});
  StepTogether({&b});
  const WorkerProcess::Story story = b.Read();
  EXPECT_EQ(story.sent.at(2).verdict, "VERDICT_TOO_STALE");
  EXPECT_EQ(story.sent.at(3).verdict, "VERDICT_APPLIED");
  EXPECT_EQ(story.sent.at(3).base_version, kMaxStaleness + 3);
  EndAll();
}

TEST_P(ProcessFaultTest, FrozenWorkerThatWasReplacedIsFencedWhenItWakes) {
  WorkerProcess& a = Start("a", How::kDriven);
  WorkerProcess& b = Start("b", How::kDriven);
  StepTogether({&a, &b});
  b.Freeze();
  WorkerProcess& successor = Start("b", How::kDriven);
  StepTogether({&a, &successor});
  StepTogether({&a, &successor});
  b.Step();
  b.Wake();
  EXPECT_EQ(b.Wait(), 1);
  EXPECT_EQ(b.Read().ended, "INCARNATION_FENCED");
  EXPECT_EQ(b.Read().num_answered(), 1u);
  // A worker that is replaced while it waits is fenced at once, and what it sent counts.
  successor.Step();
  AwaitJudgement(successor);
  WorkerProcess& third = Start("b", How::kDriven);
  EXPECT_EQ(successor.Wait(), 1);
  EXPECT_EQ(successor.Read().ended, "INCARNATION_FENCED");
  StepTogether({&a});
  EXPECT_EQ(MembersOf(4), (std::vector<std::string>{"a", "b"}));
  StepTogether({&third});  // This contribution is for the round that has closed.
  StepTogether({&a, &third});
  EXPECT_EQ(MembersOf(5), (std::vector<std::string>{"a", "b"}));
  EndAll();
}

}  // namespace
}  // namespace talweg
