// SPDX-License-Identifier: Apache-2.0
//
// What a session's host promises while other things go on. The tests rely on order, never on time:
// a gate holds a thread of the pool if something must come before it.
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/session_host.h"
#include "server/runtime/test_session.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

// Keeps an operation of the session under way until `gate` opens.
JoinReply HoldTurn(TestSession& session, const Gate& gate, uint64_t incarnation) {
  JoinReply joined;
  session.host().Join(
      {"holder"},
      [&gate, incarnation] {
        gate.Wait();
        return incarnation;
      },
      joined.Callback());
  return joined;
}

TEST(SessionHostConcurrencyTest, DeleteEndsWhatIsQueuedAndWhatComesLater) {
  ComputePool pool(1);
  TestSession session(pool, kManyShards);
  session.Start();
  Gate gate;
  pool.Post([&] { gate.Wait(); });
  const StepReply step = session.Step(1, 1);
  const JoinReply join = session.Join(2);
  JoinReply heartbeat;
  session.host().Heartbeat({kHistory, "w", 1}, heartbeat.Callback());
  StatusReply leave;
  session.host().Leave({kHistory, "w", 1}, leave.Callback());
  const DescribeReply rate = session.SetRate(0.25);
  DescribeReply describe;
  session.host().Describe({.checksum = true}, describe.Callback());
  EXPECT_FALSE(session.host().deleted());
  session.host().Delete();
  EXPECT_TRUE(session.host().deleted());
  gate.Open();

  const StepReply late_step = session.Step(2, 1);
  ReadReply late_read;
  session.host().Read(core::Session::Point::kParameters, late_read.Callback());
  EXPECT_THAT(
      (std::vector<std::string>{
          core::ReasonName(step.Get().status()), core::ReasonName(join.Get().status()),
          core::ReasonName(heartbeat.Get().status()), core::ReasonName(leave.Get()),
          core::ReasonName(rate.Get().status()), core::ReasonName(describe.Get().status()),
          core::ReasonName(late_step.Get().status()), core::ReasonName(late_read.Get().status())}),
      Each("SESSION_DELETED"));
}

TEST(SessionHostConcurrencyTest, DeleteDuringAStepEndsIt) {
  ComputePool pool(1);
  TestSession session(pool, kManyShards);
  session.Start();
  Gate gate;
  pool.Post([&] { gate.Wait(); });
  const StepReply step = session.Step(1, 1);
  // On one thread this runs after the step has begun and before its first shard is staged.
  bool ready_at_delete = true;
  pool.Post([&] {
    ready_at_delete = step.Ready();
    session.host().Delete();
  });
  gate.Open();
  EXPECT_EQ(core::ReasonName(step.Get().status()), "SESSION_DELETED");
  EXPECT_FALSE(ready_at_delete);
}

TEST(SessionHostConcurrencyTest, DeleteBeforeCreateEndsTheCallsThatWaitForIt) {
  ComputePool pool(1);
  TestSession session(pool, kManyShards);
  const JoinReply join = session.Join(1);
  ReadReply read;
  session.host().Read(core::Session::Point::kParameters, read.Callback());
  session.host().Delete();
  session.Create().Get();
  EXPECT_EQ(core::ReasonName(join.Get().status()), "SESSION_DELETED");
  EXPECT_EQ(core::ReasonName(read.Get().status()), "SESSION_DELETED");
}

TEST(SessionHostConcurrencyTest, HeldVersionKeepsItsBitsWhileStepsGoOn) {
  ComputePool pool(3);
  TestSession session(pool, kManyShards);
  session.Start();
  ASSERT_TRUE(session.Step(1, 1).Get().ok());
  const std::shared_ptr<const core::Parameters> held = session.Read();
  ASSERT_EQ(held->version, 1u);
  const std::vector<float> bits = CopyOf(*held);
  std::vector<StepReply> replies;
  for (uint64_t sequence = 2; sequence <= 12; ++sequence) {
    replies.push_back(session.Step(sequence, static_cast<float>(sequence)));
    // Reads while shards are written: the thread sanitizer sees it if they are of this version.
    EXPECT_EQ(std::memcmp(bits.data(), held->values.data(), bits.size() * sizeof(float)), 0);
  }
  for (const StepReply& reply : replies) ASSERT_TRUE(reply.Get().ok());
  EXPECT_EQ(std::memcmp(bits.data(), held->values.data(), bits.size() * sizeof(float)), 0);
  EXPECT_EQ(held->version, 1u);
  EXPECT_EQ(session.Read()->version, 12u);
}

TEST(SessionHostConcurrencyTest, AnswersKeepTheirVersionsHoweverManyAreHeld) {
  ComputePool pool(2);
  TestSession session(pool, 100);
  session.Start();
  std::vector<StepReply> replies;
  for (uint64_t sequence = 1; sequence <= 30; ++sequence) {
    replies.push_back(session.Step(sequence, 1));
    ASSERT_TRUE(replies.back().Get().ok());
  }
  for (const StepReply& reply : replies) {
    const StepOutcome& outcome = *reply.Get();
    EXPECT_THAT(outcome.parameters->values.span(),
                Each(-0.5f * static_cast<float>(outcome.parameters->version)));
  }
}

TEST(SessionHostConcurrencyTest, ReadWaitsForNobody) {
  ComputePool pool(1);
  TestSession session(pool, kManyShards);
  session.Start();
  Gate gate;
  const JoinReply held = HoldTurn(session, gate, 2);
  const StepReply queued = session.Step(1, 1);
  ReadReply read;
  session.host().Read(core::Session::Point::kParameters, read.Callback());
  EXPECT_TRUE(read.Ready());
  gate.Open();
  EXPECT_EQ(read.Get()->values->version, 0u);
  ASSERT_TRUE(held.Get().ok());
  ASSERT_TRUE(queued.Get().ok());
}

TEST(SessionHostConcurrencyTest, StepIsReadableByWhoeverHasItsAnswer) {
  ComputePool pool(2);
  TestSession session(pool, kManyShards);
  session.Start();
  for (uint64_t sequence = 1; sequence <= 50; ++sequence) {
    const StepReply step = session.Step(sequence, 1);
    ASSERT_TRUE(step.Get().ok());
    ASSERT_EQ(session.Read()->version, sequence);
  }
}

TEST(SessionHostConcurrencyTest, OneSessionHeldUpDoesNotHoldUpAnother) {
  ComputePool pool(2);
  TestSession held(pool, kManyShards);
  TestSession free(pool, kManyShards);
  held.Start();
  free.Start();
  Gate gate;
  const JoinReply holder = HoldTurn(held, gate, 2);
  const StepReply waiting = held.Step(1, 1);
  for (uint64_t sequence = 1; sequence <= 10; ++sequence) {
    ASSERT_TRUE(free.Step(sequence, 1).Get().ok());
  }
  EXPECT_FALSE(waiting.Ready());
  gate.Open();
  ASSERT_TRUE(holder.Get().ok());
  EXPECT_EQ(waiting.Get()->answer.applied_version, 1u);
}

TEST(SessionHostConcurrencyTest, SmallStepsOvertakeAHugeOneThatCameFirst) {
  OrderLog log;
  {
    ComputePool pool(1);
    TestSession huge(pool, 40 * core::kShard);
    TestSession small(pool, 10);
    huge.Start();
    small.Start();
    Gate gate;
    pool.Post([&] { gate.Wait(); });
    huge.host().Step(huge.Input(1, 1), [&](auto) { log.Add("huge"); });
    for (uint64_t sequence = 1; sequence <= 5; ++sequence) {
      small.host().Step(small.Input(sequence, 1), [&](auto) { log.Add("small"); });
    }
    gate.Open();
    // The pool finishes all operations before the gradients are destroyed.
    huge.Describe();
    small.Describe();
  }
  EXPECT_THAT(log.words(), ElementsAre("small", "small", "small", "small", "small", "huge"));
}

TEST(SessionHostConcurrencyTest, SessionWithALongQueueLetsOthersInBetween) {
  OrderLog log;
  {
    ComputePool pool(1);
    TestSession busy(pool, 10);
    TestSession other(pool, 10);
    busy.Start();
    other.Start();
    Gate gate;
    pool.Post([&] { gate.Wait(); });
    for (uint64_t sequence = 1; sequence <= 3; ++sequence) {
      busy.host().Step(busy.Input(sequence, 1), [&](auto) { log.Add("busy"); });
    }
    other.host().Step(other.Input(1, 1), [&](auto) { log.Add("other"); });
    gate.Open();
    busy.Describe();
    other.Describe();
  }
  EXPECT_THAT(log.words(), ElementsAre("busy", "other", "busy", "busy"));
}

TEST(SessionHostConcurrencyTest, QueuedCallsAreAnsweredAlsoWhenNobodyHoldsTheHost) {
  ComputePool pool(1);
  TestSession session(pool, kManyShards);
  session.Start();
  Gate gate;
  pool.Post([&] { gate.Wait(); });
  const StepReply first = session.Step(1, 1);
  const StepReply second = session.Step(2, 1);
  session.Drop();
  gate.Open();
  EXPECT_TRUE(first.Get().ok());
  EXPECT_EQ(second.Get()->answer.applied_version, 2u);
}

TEST(SessionHostConcurrencyTest, MemoryIsGivenBackWithTheHost) {
  MemoryBudget budget(1000);
  {
    ComputePool pool(2);
    const std::vector<float> zeros(10);
    auto host = std::make_shared<SessionHost>(
        SessionIdentity{"session", "request", 0, kHistory, absl::UnixEpoch()}, TestConfig(10),
        *budget.Reserve(600), EnvOf(pool));
    StatusReply created;
    pool.Post([&, host] {
      host->Create(core::EncodedVector{core::Dtype::kFloat32, BytesOf(zeros)}, created.Callback());
    });
    ASSERT_TRUE(created.Get().ok());
    DescribeReply described;
    host->Describe({}, described.Callback());
    EXPECT_EQ(described.Get()->memory_bytes, 600u);
    EXPECT_EQ(budget.used(), 600u);
    host->Delete();
  }
  EXPECT_EQ(budget.used(), 0u);
}

}  // namespace
}  // namespace talweg::server
