// SPDX-License-Identifier: Apache-2.0
//
// Real worker processes train with the real server, and faults befall them: kill -9, SIGSTOP beyond
// the lease, successors under their name, lost replies, cut and half-open connections. After each
// fault every contribution must be where its worker was told that it is, and nowhere else. What
// needs no round is done in every mode.
//
// The storm draws another seed in every run and prints it; TALWEG_FAULT_SEED repeats one.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/fault/fault_gradient.h"
#include "tests/fault/worker_process.h"
#include "tests/support/proxy.h"
#include "tests/support/server_process.h"
#include "tests/support/swarm.h"

namespace talweg {
namespace {

using testing::Proxy;
using testing::ServerProcess;
using testing::Swarm;
using testing::WorkerProcess;

constexpr char kSession[] = "s";
constexpr uint64_t kLeaseSeconds = 3;  // so long that a busy machine starves no heartbeat

constexpr uint64_t kMaxStaleness = 40;  // in versions, of a session in which nobody is waited for

struct Shape {
  v1::AggregationMode mode;
  bool streamed;  // contributions go over streams
};

class ProcessFaultTest : public ::testing::TestWithParam<Shape> {
 protected:
  void SetUp() override {
    client_.emplace(Client::Connect(server_.address()).value());
    v1::CreateSessionRequest request;
    request.set_session_id(kSession);
    v1::SessionConfig& config = *request.mutable_config();
    v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
    tensor.set_name("w");
    tensor.add_shape(num_elements());
    config.mutable_optimizer()->mutable_gradient_descent();
    config.mutable_schedule()->set_learning_rate(0.5);
    config.mutable_aggregation()->set_mode(GetParam().mode);
    config.mutable_aggregation()->set_lease_seconds(kLeaseSeconds);
    if (GetParam().mode == v1::AGGREGATION_MODE_ASYNCHRONOUS) {
      config.mutable_aggregation()->set_max_staleness(kMaxStaleness);
    }
    v1::InitialValueRule& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
    rule.set_tensors("*");
    rule.mutable_constant();
    ASSERT_TRUE(client_->CreateSession(request).ok());
  }

  // So many that a stream needs several chunks.
  static size_t num_elements() { return GetParam().streamed ? 150'000 : 1'000; }
  static bool synchronous() { return GetParam().mode == v1::AGGREGATION_MODE_SYNCHRONOUS; }

  enum class How { kFree, kDriven };
  // Starts a new process of a worker, which connects to `address` or, if that is empty, straight to
  // the server. The process has joined when this returns.
  WorkerProcess& Start(const std::string& worker, How how, const std::string& address = "") {
    WorkerProcess::Options options;
    options.address = address.empty() ? server_.address() : address;
    options.session_id = kSession;
    options.worker = worker;
    options.num_elements = num_elements();
    options.streamed = GetParam().streamed;
    // The server keeps the records of 4,096 versions, and here each contribution makes one.
    options.how = how == How::kDriven ? "driven" : synchronous() ? "free" : "paced";
    WorkerProcess& process = *workers_.emplace_back(std::make_unique<WorkerProcess>(options));
    EXPECT_EQ(process.AwaitJoin().ended, "");
    return process;
  }

  uint64_t version() const { return client_->GetSession(kSession).value().version(); }
  void AwaitVersion(uint64_t wanted) const {
    while (version() < wanted) absl::SleepFor(absl::Milliseconds(5));
  }
  // Returns when the leases of exactly `wanted` workers run.
  void AwaitLive(uint32_t wanted) const {
    while (client_->GetSession(kSession).value().num_live_workers() != wanted) {
      absl::SleepFor(absl::Milliseconds(5));
    }
  }
  std::vector<std::string> MembersOf(uint64_t wanted) const {
    VersionRecordsOptions options;
    options.after_version = wanted - 1;
    std::vector<std::string> names;
    const auto records = client_->VersionRecords(kSession, options).value();
    for (const v1::VersionMember& member : records.at(0).members()) {
      names.push_back(member.worker());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  // Returns when the server has judged the contribution that a worker was told to make: a variant
  // of it, which can be no contribution itself, is told that the sequence was sent before.
  void AwaitJudgement(const WorkerProcess& process) {
    std::string reason;
    while (reason != "SEQUENCE_REUSED") {
      const WorkerProcess::Story story = process.Read();
      ASSERT_EQ(story.ended, "");
      if (story.sent.empty() || !story.sent.rbegin()->second.verdict.empty()) continue;
      v1::StepRequest request;
      v1::ContributionHeader& header = *request.mutable_header();
      header.set_session_id(kSession);
      header.set_history(client_->GetSession(kSession).value().history());
      header.set_worker(process.worker());
      header.set_incarnation(story.incarnation);
      header.set_sequence(story.sent.rbegin()->first);
      header.set_base_version(1'000'000);
      v1::Section& section = *request.add_sections();
      section.set_kind(v1::SECTION_KIND_GRADIENT);
      section.mutable_data()->resize(num_elements() * sizeof(float));
      request.mutable_reply()->set_data(v1::REPLY_DATA_NONE);
      swarm_.Step(0, request, [&](const absl::Status& status, const v1::StepResponse&) {
        reason = ReasonOf(status);
      });
      swarm_.Wait();
      ASSERT_TRUE(reason == "SEQUENCE_REUSED" || reason == "VERSION_AHEAD") << reason;
    }
  }

  // Makes each of `processes` contribute once, and returns when all were answered.
  void StepTogether(const std::vector<WorkerProcess*>& processes) {
    std::vector<size_t> before;
    for (WorkerProcess* process : processes) before.push_back(process->Read().num_answered());
    for (WorkerProcess* process : processes) process->Step();
    for (size_t index = 0; index < processes.size(); ++index) {
      EXPECT_EQ(processes[index]->AwaitAnswers(before[index] + 1).ended, "");
    }
  }

  // Makes all workers that still work leave, and checks what must hold at the end.
  void EndAll() {
    for (const auto& process : workers_) {
      process->CloseInput();
      process->Signal(SIGTERM);
      process->Wake();
    }
    for (const auto& process : workers_) process->Wait();
    testing::ExpectExactlyOnce(*client_, kSession, workers_, num_elements());
    EXPECT_EQ(client_->GetSession(kSession).value().num_workers(), 0u);
  }

  ServerProcess server_{{"--log_level=error"}};
  std::optional<Client> client_;
  Swarm swarm_{server_.address(), 1};
  std::vector<std::unique_ptr<WorkerProcess>> workers_;
};

class AnyModeFaultTest : public ProcessFaultTest {};
class BoundedStalenessFaultTest : public ProcessFaultTest {};
class AsynchronousFaultTest : public ProcessFaultTest {};

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

// All faults that may befall a fleet, at random.
TEST_P(AnyModeFaultTest, StormLosesNothingAndCountsNothingTwice) {
  const char* given = std::getenv("TALWEG_FAULT_SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::cout << "TALWEG_FAULT_SEED=" << seed << std::endl;
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t bound) { return random() % bound; };
  const auto pause = [&](uint64_t milliseconds) {
    absl::SleepFor(absl::Milliseconds(static_cast<int64_t>(below(milliseconds))));
  };

  constexpr size_t kWorkers = 4;
  constexpr uint64_t kBeyondLease = 1500 * kLeaseSeconds;
  std::vector<std::unique_ptr<Proxy>> proxies;
  std::vector<WorkerProcess*> lives;
  const auto start = [&](size_t index) -> WorkerProcess& {
    return Start(absl::StrCat("worker-", index), How::kFree, proxies[index]->address());
  };
  for (size_t index = 0; index < kWorkers; ++index) {
    proxies.push_back(std::make_unique<Proxy>(server_.port()));
    lives.push_back(&start(index));
  }
  for (int fault = 0; fault < 14; ++fault) {
    const size_t index = below(kWorkers);
    Proxy& proxy = *proxies[index];
    switch (below(6)) {
      case 0:
        lives[index]->Signal(SIGKILL);
        lives[index]->Wait();
        pause(below(3) == 0 ? kBeyondLease : 100);
        lives[index] = &start(index);
        break;
      case 1:
        lives[index]->Freeze();
        pause(below(3) == 0 ? kBeyondLease : 100);
        lives[index]->Wake();
        break;
      case 2: {
        WorkerProcess& replaced = *lives[index];
        replaced.Freeze();
        lives[index] = &start(index);
        pause(300);
        replaced.Wake();
        EXPECT_EQ(replaced.Wait(), 1);
        EXPECT_EQ(replaced.Read().ended, "INCARNATION_FENCED");
        break;
      }
      case 3:
        proxy.DropReplies();
        pause(300);
        proxy.CutAndHeal();
        break;
      case 4:
        proxy.CutAfter(below(2) == 0,
                       static_cast<int64_t>(below(GetParam().streamed ? 1'500'000 : 10'000)));
        pause(300);
        break;
      default:
        proxy.FallSilent();
        pause(below(3) == 0 ? kBeyondLease : 100);
        proxy.CutAndHeal();
    }
    AwaitVersion(version() + 1 + below(3));
  }
  EndAll();
}

std::string NameOf(const ::testing::TestParamInfo<Shape>& info) {
  const absl::string_view way = info.param.streamed ? "Streamed" : "Unary";
  switch (info.param.mode) {
    case v1::AGGREGATION_MODE_BOUNDED_STALENESS:
      return absl::StrCat("BoundedStaleness", way);
    case v1::AGGREGATION_MODE_ASYNCHRONOUS:
      return absl::StrCat("Asynchronous", way);
    default:
      return absl::StrCat("Synchronous", way);
  }
}

constexpr Shape kSynchronous[] = {{v1::AGGREGATION_MODE_SYNCHRONOUS, false},
                                  {v1::AGGREGATION_MODE_SYNCHRONOUS, true}};
constexpr Shape kBoundedStaleness[] = {{v1::AGGREGATION_MODE_BOUNDED_STALENESS, false},
                                       {v1::AGGREGATION_MODE_BOUNDED_STALENESS, true}};
constexpr Shape kAsynchronous[] = {{v1::AGGREGATION_MODE_ASYNCHRONOUS, false},
                                   {v1::AGGREGATION_MODE_ASYNCHRONOUS, true}};
INSTANTIATE_TEST_SUITE_P(Rounds, ProcessFaultTest, ::testing::ValuesIn(kSynchronous), NameOf);
INSTANTIATE_TEST_SUITE_P(Rounds, AnyModeFaultTest, ::testing::ValuesIn(kSynchronous), NameOf);
INSTANTIATE_TEST_SUITE_P(Bounded, AnyModeFaultTest, ::testing::ValuesIn(kBoundedStaleness), NameOf);
INSTANTIATE_TEST_SUITE_P(Free, AnyModeFaultTest, ::testing::ValuesIn(kAsynchronous), NameOf);
INSTANTIATE_TEST_SUITE_P(Bounded, BoundedStalenessFaultTest, ::testing::ValuesIn(kBoundedStaleness),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Free, AsynchronousFaultTest, ::testing::ValuesIn(kAsynchronous), NameOf);

}  // namespace
}  // namespace talweg
