// SPDX-License-Identifier: Apache-2.0
//
// Connections that break between a worker and the server: lost replies, cut and half-open
// connections. After each fault every contribution must be where its worker was told that it is,
// and nowhere else.
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fault/process_fault.h"
#include "tests/support/proxy.h"

namespace talweg {
namespace {

using testing::ProcessFaultTest;
using testing::Proxy;
using testing::WorkerProcess;

TEST_P(ProcessFaultTest, LostRepliesAreReplayedAndCountOnce) {
  Proxy proxy(server_.port());
  WorkerProcess& a = Start("a", How::kDriven);
  WorkerProcess& b = Start("b", How::kDriven, proxy.address());
  StepTogether({&a, &b});
  for (uint64_t round = 2; round <= 5; ++round) {
    b.Step();
    AwaitJudgement(b);
    proxy.DropReplies();
    StepTogether({&a});  // The version is made, and the answer to b is on its way to nowhere.
    proxy.CutAndHeal();
    const WorkerProcess::Story story = b.AwaitAnswers(round);
    const WorkerProcess::Sent& sent = story.sent.at(round);
    EXPECT_EQ(sent.verdict, "VERDICT_APPLIED");
    EXPECT_EQ(sent.applied_version, round);
    EXPECT_TRUE(sent.replayed);
    EXPECT_GE(sent.num_attempts, 2);
    EXPECT_EQ(version(), round);
  }
  EndAll();
}

TEST_P(ProcessFaultTest, ConnectionsCutWhileTheyWaitAreAskedAgainAndCountOnce) {
  Proxy proxy(server_.port());
  WorkerProcess& a = Start("a", How::kDriven);
  WorkerProcess& b = Start("b", How::kDriven, proxy.address());
  StepTogether({&a, &b});
  for (uint64_t round = 2; round <= 5; ++round) {
    b.Step();
    AwaitJudgement(b);
    proxy.CutAndHeal();
    StepTogether({&a});
    const WorkerProcess::Story story = b.AwaitAnswers(round);
    const WorkerProcess::Sent& sent = story.sent.at(round);
    EXPECT_EQ(sent.verdict, "VERDICT_APPLIED");
    EXPECT_EQ(sent.applied_version, round);
    EXPECT_GE(sent.num_attempts, 2);
  }
  EndAll();
}

TEST_P(ProcessFaultTest, WorkerOnAHalfOpenConnectionIsNotWaitedFor) {
  Proxy proxy(server_.port());
  WorkerProcess& a = Start("a", How::kDriven);
  WorkerProcess& b = Start("b", How::kDriven, proxy.address());
  StepTogether({&a, &b});
  proxy.FallSilent();
  b.Step();  // into nowhere
  StepTogether({&a});
  EXPECT_EQ(MembersOf(2), std::vector<std::string>{"a"});
  AwaitLive(1);
  proxy.CutAndHeal();
  WorkerProcess::Sent sent = b.AwaitAnswers(2).sent.at(2);
  EXPECT_EQ(sent.verdict, "VERDICT_ROUND_CLOSED");
  StepTogether({&a, &b});
  EXPECT_EQ(MembersOf(3), (std::vector<std::string>{"a", "b"}));

  // What came before the silence counts; the next round does not wait for its worker.
  b.Step();
  AwaitJudgement(b);
  proxy.FallSilent();
  StepTogether({&a});
  EXPECT_EQ(MembersOf(4), (std::vector<std::string>{"a", "b"}));
  StepTogether({&a});
  EXPECT_EQ(MembersOf(5), std::vector<std::string>{"a"});
  proxy.CutAndHeal();
  sent = b.AwaitAnswers(4).sent.at(4);
  EXPECT_EQ(sent.verdict, "VERDICT_APPLIED");
  EXPECT_TRUE(sent.replayed);
  StepTogether({&a, &b});

  if (std::getenv("TALWEG_FAULT_LONG") != nullptr) {
    // A call that waits keeps its worker live until pings tell that the connection is dead.
    AwaitLive(2);
    b.Step();
    AwaitJudgement(b);
    const auto silent = std::chrono::steady_clock::now();
    proxy.FallSilent();
    AwaitLive(1);
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - silent);
    std::cout << "a call on a half-open connection was let go after " << seconds.count() << " s\n";
    EXPECT_LE(seconds.count(), static_cast<int>(60 + kLeaseSeconds));
    proxy.CutAndHeal();
    StepTogether({&a});
  }
  EndAll();
}

}  // namespace
}  // namespace talweg
