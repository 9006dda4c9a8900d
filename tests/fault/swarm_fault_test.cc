// SPDX-License-Identifier: Apache-2.0
//
// Thousands of workers at once against the real server: how they join, wait and leave, and what the
// server does when it stops, or when the session goes, while they wait.
#include "tests/fault/swarm_fault.h"

#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <iostream>
#include <set>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/support/process_status.h"

namespace talweg {
namespace {

using testing::SwarmAnswers;
using testing::SwarmFaultTest;

// Lets this process, and the processes that it starts, have `wanted` files open.
void RaiseDescriptors(rlim_t wanted) {
  rlimit limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_GE(limit.rlim_max, wanted) << "more open files than this machine allows";
  limit.rlim_cur = std::max(limit.rlim_cur, wanted);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

// Each worker has a connection of its own. All workers except one say that they live until that one
// has expired.
TEST_F(SwarmFaultTest, AThousandWorkersJoinAtOnceLiveOnMakeRoundsAndLeave) {
  constexpr size_t kWorkers = 1000;
  RaiseDescriptors(kWorkers + 200);  // in the test and in the server
  Start(kWorkers + 1);
  Create(100);
  JoinAll(kWorkers + 1);
  SetLease(4);
  HeartbeatAll(kWorkers + 1);
  while (GetSession().num_live_workers() != kWorkers) {
    absl::SleepFor(absl::Milliseconds(500));
    HeartbeatAll(kWorkers);
  }
  SetLease(600);
  HeartbeatAll(kWorkers);
  for (uint64_t sequence = 1; sequence <= 2; ++sequence) {
    answers_.clear();
    for (size_t worker = 0; worker < kWorkers; ++worker) Step(worker, sequence);
    swarm_->Wait();
    EXPECT_EQ(answers_, (SwarmAnswers{{"VERDICT_APPLIED of 1000", kWorkers}}));
    EXPECT_EQ(GetSession().version(), sequence);
    EXPECT_EQ(GetSession().num_live_workers(), kWorkers);
  }
  const auto records = client_->VersionRecords(kSession).value();
  ASSERT_EQ(records.size(), 2u);
  for (const v1::VersionRecord& record : records) {
    std::set<std::string> names;
    for (const v1::VersionMember& member : record.members()) names.insert(member.worker());
    EXPECT_EQ(record.members_size(), static_cast<int>(kWorkers));
    EXPECT_EQ(names.size(), kWorkers);
    EXPECT_EQ(record.num_late(), 0u);
  }
  v1::LeaveRequest request;
  request.set_session_id(kSession);
  request.set_history(joined_[0].history());
  for (size_t worker = 0; worker < kWorkers; ++worker) {
    request.set_worker(NameOf(worker));
    request.set_incarnation(joined_[worker].incarnation());
    swarm_->Leave(worker, request, [](const absl::Status& status, v1::LeaveResponse&) {
      EXPECT_TRUE(status.ok()) << status;
    });
  }
  swarm_->Wait();
  EXPECT_EQ(GetSession().num_workers(), 1u);
  EXPECT_EQ(GetSession().num_live_workers(), 0u);
}

// The parameter says whether the workers wait on streams.
class ManyWaitFaultTest : public SwarmFaultTest, public ::testing::WithParamInterface<bool> {};

TEST_P(ManyWaitFaultTest, FiveThousandHoldNoThreadAndNotTheirRequests) {
  constexpr size_t kWorkers = 5000;
  constexpr size_t kWave = 500;
  // All requests together are 320 MiB, or 640 MiB in streams. Requests that are under way may hold
  // 192 MiB; a stream keeps its part of that until other streams want it.
  Start(kWorkers / 250, {"--memory_bytes=1073741824"});
  Create(GetParam() ? 32768 : 16384);
  JoinAll(kWorkers);
  const auto step = [&](size_t worker) {
    GetParam() ? StreamStep(worker, 1, v1::REPLY_DATA_PARAMETERS)
               : Step(worker, 1, v1::REPLY_DATA_PARAMETERS);
  };
  const uint64_t before = testing::StatusBytes(server_->pid(), "VmRSS");
  uint64_t first = 0;
  for (size_t begin = 0; begin < kWorkers; begin += kWave) {
    const size_t end = std::min(begin + kWave, kWorkers - 1);
    for (size_t worker = begin; worker < end; ++worker) step(worker);
    AwaitJudgement(begin, end, 1);
    ASSERT_EQ(num_answered_, 0u);
    if (first == 0) first = testing::StatusNumber(server_->pid(), "Threads");
  }
  const uint64_t threads = testing::StatusNumber(server_->pid(), "Threads");
  const uint64_t grown = testing::StatusBytes(server_->pid(), "VmRSS") - before;
  std::cout << "threads with " << kWave << " that wait: " << first << ", with " << kWorkers << ": "
            << threads << "; bytes for each that waits: " << grown / kWorkers << "\n";
  EXPECT_LE(threads, first + 4);
  // A stream that kept its request would hold 20 KiB beside that request.
  EXPECT_LT(grown, kWorkers * num_elements_ * sizeof(float) * (GetParam() ? 4 : 3) / 4);
  step(kWorkers - 1);
  swarm_->Wait();
  EXPECT_EQ(answers_, (SwarmAnswers{{"VERDICT_APPLIED of 5000", kWorkers}}));
  EXPECT_EQ(GetSession().version(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Shapes, ManyWaitFaultTest, ::testing::Bool(),
                         [](const auto& shape) { return shape.param ? "Streamed" : "Unary"; });

// The network carries nothing back. The replies have 1 MiB each and would take 800 MiB together, so
// they wait for each other's memory.
TEST_F(SwarmFaultTest, RepliesThatNobodyReadsHoldBoundedMemory) {
  constexpr size_t kWorkers = 400;
  constexpr size_t kWave = 40;
  constexpr size_t kConnections = 4;
  Start(kConnections, {"--memory_bytes=1073741824"},
        /*through_proxy=*/true);  // 192 MiB of the memory are for replies.
  Create(262144);
  JoinAll(kWorkers);
  for (size_t begin = 0; begin < kWorkers; begin += kWave) {
    const size_t end = std::min(begin + kWave, kWorkers - 1);
    for (size_t worker = begin; worker < end; ++worker) Step(worker, 1, v1::REPLY_DATA_PARAMETERS);
    AwaitJudgement(begin, end, 1);
  }
  ASSERT_EQ(num_answered_, 0u);
  proxy_->DropReplies();
  const uint64_t before = testing::StatusBytes(server_->pid(), "VmRSS");
  Step(*probe_, kWorkers - 1, 1, v1::REPLY_DATA_NONE);  // closes the round
  probe_->Wait();
  uint64_t now = before;
  for (uint64_t last = 0; now > last;) {
    last = now;
    absl::SleepFor(absl::Seconds(1));
    now = testing::StatusBytes(server_->pid(), "VmRSS");
  }
  std::cout << "replies that nobody reads take " << ((now - before) >> 20) << " MiB\n";
  EXPECT_GT(now - before, uint64_t{64} << 20);
  EXPECT_LT(now - before, uint64_t{400} << 20);
  EXPECT_EQ(num_answered_, 1u);
  // When the connections of these replies are gone, the other replies have their turn, and a retry
  // gets the same answer.
  proxy_->CutAndHeal();
  swarm_->Wait();
  EXPECT_EQ(num_answered_, kWorkers);
  for (size_t connection = 0; connection < kConnections; ++connection) {
    // A call may still go out over a connection that is gone.
    bool is_back = false;
    while (!is_back) {
      swarm_->Check(connection, [&](const absl::Status& status) { is_back = status.ok(); });
      swarm_->Wait();
    }
  }
  answers_.clear();
  for (size_t begin = 0; begin < kWorkers; begin += kWave) {
    for (size_t worker = begin; worker < begin + kWave; ++worker) {
      Step(worker, 1, v1::REPLY_DATA_PARAMETERS);
    }
    swarm_->Wait();
  }
  EXPECT_EQ(answers_, (SwarmAnswers{{"VERDICT_APPLIED of 400", kWorkers}}));
}

TEST_F(SwarmFaultTest, ServerThatStopsTellsThoseWhoWaitAndExitsInPeace) {
  constexpr size_t kWorkers = 300;
  // A call that is not told would wait until the grace is over, and would then be cut without a
  // reason.
  Start(2, {"--grace_seconds=40"});
  Create(1000);
  JoinAll(kWorkers);
  WaitForever(kWorkers - 1);
  server_->Signal(SIGTERM);
  swarm_->Wait();
  EXPECT_EQ(answers_, (SwarmAnswers{{"DRAINING", kWorkers - 1}}));
  EXPECT_EQ(server_->Wait(), 0);
}

TEST_F(SwarmFaultTest, SessionThatGoesTellsThoseWhoWait) {
  constexpr size_t kWorkers = 300;
  Start(2);
  Create(1000);
  JoinAll(kWorkers);
  WaitForever(kWorkers - 1);
  ASSERT_TRUE(client_->DeleteSession(kSession).ok());
  swarm_->Wait();
  EXPECT_EQ(answers_, (SwarmAnswers{{"SESSION_DELETED", kWorkers - 1}}));
  // A new session under the same id tells workers of the old one that the history changed, and a
  // round of the new session closes.
  answers_.clear();
  Create(1000);
  Step(0, 1);
  swarm_->Wait();
  EXPECT_EQ(answers_, (SwarmAnswers{{"HISTORY_CHANGED", 1}}));
  JoinAll(1);
  Step(0, 1);
  swarm_->Wait();
  EXPECT_EQ(answers_["VERDICT_APPLIED of 1"], 1u);
}

}  // namespace
}  // namespace talweg
