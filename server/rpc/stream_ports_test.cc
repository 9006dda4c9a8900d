// SPDX-License-Identifier: Apache-2.0
//
// A real session and a real budget, connected to the machine of a stream whose other surroundings
// are made of nothing.
#include "server/rpc/stream_ports.h"

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/reasons.h"
#include "gtest/gtest.h"
#include "server/rpc/stream_machine_testing.h"
#include "server/runtime/compute_pool.h"
#include "server/runtime/mutex.h"
#include "server/runtime/test_session.h"

namespace talweg::server {
namespace {

// The queue of a stream: it keeps what is posted until the test runs it.
class StreamQueue {
 public:
  PostToStream Post() {
    return [state = state_](absl::AnyInvocable<void(StreamMachine&)> event) {
      const std::lock_guard<std::mutex> lock(state->mutex);
      state->events.push_back(std::move(event));
      state->came.notify_all();
    };
  }
  // Waits for the next event, and runs it.
  void RunNext(StreamMachine& machine) {
    absl::AnyInvocable<void(StreamMachine&)> event;
    {
      std::unique_lock<std::mutex> lock(state_->mutex);
      state_->came.wait(lock, [this] { return !state_->events.empty(); });
      event = std::move(state_->events.front());
      state_->events.pop_front();
    }
    event(machine);
  }
  size_t size() const {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    return state_->events.size();
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable came;
    std::deque<absl::AnyInvocable<void(StreamMachine&)>> events;
  };
  // The session's last answer may come after the test.
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

class StagingMemoryTest : public StreamMachineTest {
 protected:
  StreamQueue queue_;
};

TEST_F(StagingMemoryTest, MemoryIsGrantedInTheStreamsQueue) {
  Lead(At::kAsking);
  MemoryBudget budget(kBytes);
  StagingMemory memory(budget, queue_.Post());
  ASSERT_TRUE(memory.Ask(kBytes).ok());
  EXPECT_EQ(queue_.size(), 1u);
  EXPECT_EQ(seen_->grants, 0);
  queue_.RunNext(*machine_);
  EXPECT_EQ(seen_->grants, 1);
  EXPECT_EQ(budget.used(), kBytes);
  machine_->LetGo();
  EXPECT_EQ(budget.used(), 0u);
}

TEST_F(StagingMemoryTest, MemoryThatThereCanNeverBeIsRefused) {
  MemoryBudget budget(kBytes);
  StagingMemory memory(budget, queue_.Post());
  EXPECT_EQ(core::ReasonName(memory.Ask(kBytes + 1)), "MEMORY_QUOTA");
  EXPECT_EQ(queue_.size(), 0u);
}

TEST_F(StagingMemoryTest, AStreamThatStopsAskingLeavesTheLine) {
  MemoryBudget budget(kBytes);
  MemoryBudget::Reservation all = budget.Reserve(kBytes).value();
  StagingMemory memory(budget, queue_.Post());
  EXPECT_FALSE(memory.OthersWait());
  ASSERT_TRUE(memory.Ask(kBytes).ok());
  EXPECT_TRUE(memory.OthersWait());
  memory.StopAsking();
  EXPECT_FALSE(memory.OthersWait());
  all = MemoryBudget::Reservation();
  EXPECT_EQ(queue_.size(), 0u);
  EXPECT_EQ(budget.used(), 0u);
}

TEST_F(StagingMemoryTest, AStreamAtRestIsToldOnceThatOthersWaitAndYields) {
  Lead(At::kResting);
  ASSERT_EQ(held(), kBytes);
  StagingMemory memory(seen_->budget, queue_.Post());
  memory.WatchForOthers();
  EXPECT_EQ(queue_.size(), 0u);
  std::vector<MemoryBudget::Reservation> granted;
  const auto keep = [&](MemoryBudget::Reservation bytes) { granted.push_back(std::move(bytes)); };
  ASSERT_TRUE(seen_->budget.ReserveLater(kBytes, keep).ok());
  ASSERT_TRUE(seen_->budget.ReserveLater(kBytes, keep).ok());
  EXPECT_EQ(queue_.size(), 1u);
  EXPECT_TRUE(granted.empty());
  queue_.RunNext(*machine_);
  EXPECT_EQ(granted.size(), 1u);
  MemoryBudget::Reservation first = std::move(granted[0]);
  granted.clear();
  first = MemoryBudget::Reservation();  // That serves the second one.
  EXPECT_EQ(granted.size(), 1u);
}

TEST_F(StagingMemoryTest, AStreamThatStopsWatchingIsNotTold) {
  for (const bool goes : {false, true}) {
    MemoryBudget budget(kBytes);
    const MemoryBudget::Reservation all = budget.Reserve(kBytes).value();
    auto memory = std::make_unique<StagingMemory>(budget, queue_.Post());
    memory->WatchForOthers();
    if (goes) {
      memory.reset();
    } else {
      memory->StopWatching();
    }
    const auto place = budget.ReserveLater(kBytes, [](MemoryBudget::Reservation) {});
    ASSERT_TRUE(place.ok());
    EXPECT_EQ(queue_.size(), 0u);
    EXPECT_TRUE(budget.Forget(*place));
  }
}

TEST_F(StagingMemoryTest, AStreamThatAbstainsLeavesTheMemoryToTheWorkerItWaitsFor) {
  MemoryBudget budget(kBytes);  // room for one gradient
  MemoryBudget::Reservation busy =
      budget.Reserve(kBytes).value();  // a third stream, of another session
  Seen a_seen, b_seen;
  FakeOutput a_out(a_seen), b_out(b_seen);
  StreamQueue a_queue, b_queue;
  StagingMemory a_memory(budget, a_queue.Post()), b_memory(budget, b_queue.Post());
  auto world = [&](Seen& seen, FakeOutput& out, StagingMemory& memory) {
    return StreamMachine::World{
        out, memory,
        [&seen](const std::string& id) -> absl::StatusOr<std::unique_ptr<StreamSession>> {
          return std::make_unique<FakeSession>(seen, id);
        },
        [] { return absl::OkStatus(); }, [] { return absl::UnixEpoch(); }};
  };
  StreamMachine a(world(a_seen, a_out, a_memory)), b(world(b_seen, b_out, b_memory));
  const auto run = [&] {
    while (a_queue.size() + b_queue.size() > 0) {
      if (a_queue.size() > 0) a_queue.RunNext(a);
      if (b_queue.size() > 0) b_queue.RunNext(b);
    }
  };
  a.Take(Abstention());
  a.SessionMade(absl::OkStatus());  // a stands in the line
  a.Take(Commit());                 // and waits for the round, that is for b
  b.Take(Header());
  b.SessionMade(absl::OkStatus());  // b stands behind a
  run();
  busy = MemoryBudget::Reservation();
  run();
  EXPECT_EQ(b_seen.grants, 1) << "b never gets its memory; a holds " << budget.used();
  a.LetGo();
  b.LetGo();
}

class HostedSessionTest : public StreamMachineTest {
 protected:
  std::unique_ptr<HostedSession> Connect() {
    return std::make_unique<HostedSession>(session_.Share(), queue_.Post(),
                                           [this] { return more_may_come_; });
  }

  ComputePool pool_{2};
  TestSession session_{pool_, kElements};
  StreamQueue queue_;
  bool more_may_come_ = true;
};

TEST_F(HostedSessionTest, SaysWhatTheSessionIs) {
  const std::unique_ptr<HostedSession> hosted = Connect();
  EXPECT_EQ(hosted->id(), "session");
  EXPECT_EQ(hosted->history(), kHistory);
  EXPECT_EQ(hosted->num_elements(), kElements);
  EXPECT_TRUE(hosted->CheckHistory(kHistory).ok());
  EXPECT_EQ(core::ReasonName(hosted->CheckHistory(kHistory + 1)), "HISTORY_CHANGED");
  EXPECT_EQ(hosted->group_map(), nullptr);
  session_.Start();
  ASSERT_NE(hosted->group_map(), nullptr);
  EXPECT_EQ(hosted->group_map(), session_.host().group_map());
}

TEST_F(HostedSessionTest, TheStreamGoesOnWhenTheSessionIsMade) {
  Lead(At::kUnmade);
  const std::unique_ptr<HostedSession> hosted = Connect();
  hosted->AwaitMade();
  EXPECT_EQ(queue_.size(), 0u);
  session_.Start();
  queue_.RunNext(*machine_);
  EXPECT_EQ(seen_->asked, 1);
  EXPECT_TRUE(seen_->ends.empty());
}

TEST_F(HostedSessionTest, AJudgementComesInTheQueueAndIsToldWhetherMoreMayCome) {
  session_.Start();
  uint64_t sequence = 0;
  for (const bool more : {true, false}) {
    Lead(At::kJudging);
    const std::unique_ptr<HostedSession> hosted = Connect();
    more_may_come_ = !more;
    hosted->Step(session_.Input(++sequence, 2));
    while (queue_.size() == 0) session_.Describe();
    EXPECT_TRUE(seen_->replies.empty());
    more_may_come_ = more;  // What counts is how it is when the event runs.
    seen_->steps.back().staged = nullptr;
    queue_.RunNext(*machine_);
    EXPECT_EQ(seen_->replies.size(), 1u);
    EXPECT_EQ(held(), more ? kBytes : 0);
    EXPECT_TRUE(seen_->ends.empty());
  }
  EXPECT_EQ(session_.Describe().version, 2u);
}

TEST_F(HostedSessionTest, AStepThatIsAbandonedBeforeItIsJudgedNeverCame) {
  Lead(At::kJudging);
  const std::unique_ptr<HostedSession> hosted = Connect();
  hosted->Step(session_.Input(1, 2));  // waits for the session to be made
  hosted->Abandon();
  session_.Start();
  queue_.RunNext(*machine_);
  ASSERT_EQ(seen_->ends.size(), 1u);
  EXPECT_EQ(seen_->ends[0].code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(session_.Describe().version, 0u);
}

TEST_F(HostedSessionTest, ADeletedSessionEndsItsStream) {
  session_.Start();
  Lead(At::kResting);
  const std::unique_ptr<HostedSession> hosted = Connect();
  EXPECT_EQ(queue_.size(), 0u);
  session_.host().Delete();
  queue_.RunNext(*machine_);
  ExpectEnd("SESSION_DELETED");
}

TEST_F(HostedSessionTest, AStreamThatHasGoneIsNotToldOfTheDeletion) {
  session_.Start();
  Connect().reset();
  session_.host().Delete();
  EXPECT_EQ(queue_.size(), 0u);
}

// An environment that notes which workers the session was told are alive.
class ListeningEnv final : public PoolEnv {
 public:
  using PoolEnv::PoolEnv;
  void Keep(const Decision& decision, Task kept) override {
    if (const auto* life = std::get_if<core::Heartbeat>(decision.event)) {
      MutexLock lock(mutex_);
      life_.push_back(*life);
    }
    kept();
  }
  std::vector<core::Heartbeat> life() const {
    MutexLock lock(mutex_);
    return life_;
  }

 private:
  mutable Mutex mutex_;
  std::vector<core::Heartbeat> life_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(HostedSessionTest, ASignOfLifeReachesTheSessionAndIsNotAnswered) {
  std::unique_ptr<ListeningEnv> env;  // outlives the last task on the pool
  ComputePool pool(1);
  env = std::make_unique<ListeningEnv>(pool);
  const auto host =
      std::make_shared<SessionHost>(SessionIdentity{"session", "", 0, kHistory, absl::UnixEpoch()},
                                    TestConfig(kElements), MemoryBudget::Reservation(), *env);
  const std::vector<float> zeros(kElements, 0.0f);
  StatusReply made;
  pool.Post([&] {
    host->Create(core::EncodedVector{core::Dtype::kFloat32, BytesOf(zeros)}, made.Callback());
  });
  ASSERT_TRUE(made.Get().ok());
  JoinReply joined;
  host->Join(
      {"w"}, [] { return uint64_t{3}; }, joined.Callback());
  ASSERT_TRUE(joined.Get().ok());

  HostedSession hosted(host, queue_.Post(), [] { return true; });
  hosted.ShowLife({kHistory, "w", 3});
  hosted.ShowLife({kHistory, "nobody", 3});
  DescribeReply after;
  host->Describe({}, after.Callback());
  ASSERT_TRUE(after.Get().ok());
  const std::vector<core::Heartbeat> life = env->life();
  ASSERT_FALSE(life.empty());
  EXPECT_EQ(life[0].history, kHistory);
  EXPECT_EQ(life[0].worker, "w");
  EXPECT_EQ(life[0].incarnation, 3u);
  EXPECT_EQ(queue_.size(), 0u);
}

}  // namespace
}  // namespace talweg::server
