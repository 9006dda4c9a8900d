// SPDX-License-Identifier: Apache-2.0
//
// Thousands of workers at once against the real server: how they join, wait and leave, and what the
// server does when it stops, or when the session goes, while they wait.
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cpp/talweg/client.h"
#include "gtest/gtest.h"
#include "tests/support/process_status.h"
#include "tests/support/proxy.h"
#include "tests/support/server_process.h"
#include "tests/support/swarm.h"

namespace talweg {
namespace {

using testing::ServerProcess;
using testing::Swarm;

constexpr char kSession[] = "s";

std::string NameOf(size_t worker) { return absl::StrCat("worker-", worker); }

// How often each verdict, with its number of contributors, and each reason came.
using Answers = std::map<std::string, size_t>;

// Lets this process, and the processes that it starts, have `wanted` files open.
void RaiseDescriptors(rlim_t wanted) {
  rlimit limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_GE(limit.rlim_max, wanted) << "more open files than this machine allows";
  limit.rlim_cur = std::max(limit.rlim_cur, wanted);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

class SwarmFaultTest : public ::testing::Test {
 protected:
  void Start(size_t num_connections, const std::vector<std::string>& flags = {},
             bool through_proxy = false) {
    std::vector<std::string> all = {"--log_level=error"};
    all.insert(all.end(), flags.begin(), flags.end());
    // Without these options a server under the address sanitizer keeps memory that was freed.
    const char* sanitizer = std::getenv("ASAN_OPTIONS");
    const std::string options = sanitizer == nullptr ? "" : sanitizer;
    setenv("ASAN_OPTIONS",
           (options + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64").c_str(), 1);
    server_.emplace(all);
    setenv("ASAN_OPTIONS", options.c_str(), 1);
    proxy_.emplace(server_->port());
    client_.emplace(Client::Connect(server_->address()).value());
    swarm_.emplace(through_proxy ? proxy_->address() : server_->address(), num_connections);
    probe_.emplace(server_->address(), num_connections);
  }

  void Create(uint64_t num_elements) {
    num_elements_ = num_elements;
    v1::CreateSessionRequest request;
    request.set_session_id(kSession);
    v1::SessionConfig& config = *request.mutable_config();
    v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
    tensor.set_name("w");
    tensor.add_shape(num_elements);
    config.mutable_optimizer()->mutable_gradient_descent();
    config.mutable_schedule()->set_learning_rate(0.5);
    config.mutable_aggregation()->set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
    // No worker sends heartbeats here, and none is to expire in the middle of a test.
    config.mutable_aggregation()->set_lease_seconds(600);
    v1::InitialValueRule& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
    rule.set_tensors("*");
    rule.mutable_constant();
    ASSERT_TRUE(client_->CreateSession(request).ok());
    const std::vector<float> ones(num_elements, 1);
    ones_.set_kind(v1::SECTION_KIND_GRADIENT);
    ones_.set_data(
        std::string(reinterpret_cast<const char*>(ones.data()), ones.size() * sizeof(float)));
    v1::StreamStepRequest chunk;
    *chunk.mutable_chunk()->mutable_section() = ones_;
    chunks_ = Swarm::Serialize({chunk});
  }

  // The lease of each worker is `seconds` from its next sign of life on.
  void SetLease(uint64_t seconds) {
    v1::UpdateSessionRequest request;
    request.set_session_id(kSession);
    request.mutable_config()->mutable_aggregation()->set_lease_seconds(seconds);
    request.mutable_update_mask()->add_paths("aggregation.lease_seconds");
    ASSERT_TRUE(client_->UpdateSession(request).ok());
  }

  // The first `num_workers` workers say that they live.
  void HeartbeatAll(size_t num_workers) {
    v1::HeartbeatRequest request;
    request.set_session_id(kSession);
    for (size_t worker = 0; worker < num_workers; ++worker) {
      request.set_history(joined_[worker].history());
      request.set_worker(NameOf(worker));
      request.set_incarnation(joined_[worker].incarnation());
      swarm_->Heartbeat(worker, request, [](const absl::Status& status, v1::HeartbeatResponse&) {
        EXPECT_TRUE(status.ok()) << status;
      });
    }
    swarm_->Wait();
  }

  // All workers join at once.
  void JoinAll(size_t num_workers) {
    joined_.assign(num_workers, v1::JoinResponse());
    v1::JoinRequest request;
    request.set_session_id(kSession);
    for (size_t worker = 0; worker < num_workers; ++worker) {
      request.set_worker(NameOf(worker));
      swarm_->Join(worker, request,
                   [this, worker](const absl::Status& status, v1::JoinResponse& response) {
                     EXPECT_TRUE(status.ok()) << status;
                     joined_[worker] = response;
                   });
    }
    swarm_->Wait();
    std::set<uint64_t> incarnations;
    for (const v1::JoinResponse& joined : joined_) incarnations.insert(joined.incarnation());
    EXPECT_EQ(incarnations.size(), num_workers);
    EXPECT_EQ(GetSession().num_workers(), num_workers);
    EXPECT_EQ(GetSession().num_live_workers(), num_workers);
  }

  v1::ContributionHeader HeaderOf(size_t worker, uint64_t sequence) const {
    v1::ContributionHeader header;
    header.set_session_id(kSession);
    header.set_history(joined_[worker].history());
    header.set_worker(NameOf(worker));
    header.set_incarnation(joined_[worker].incarnation());
    header.set_sequence(sequence);
    header.set_base_version(sequence - 1);
    return header;
  }

  // Sends a gradient of ones, and counts the answer.
  void Step(size_t worker, uint64_t sequence, v1::ReplyData data = v1::REPLY_DATA_NONE) {
    Step(*swarm_, worker, sequence, data);
  }
  void Step(Swarm& through, size_t worker, uint64_t sequence, v1::ReplyData data) {
    v1::StepRequest request;
    *request.mutable_header() = HeaderOf(worker, sequence);
    *request.add_sections() = ones_;
    request.mutable_reply()->set_data(data);
    through.Step(worker, request, [this](const absl::Status& status, v1::StepResponse& response) {
      Count(status, response);
    });
  }
  void StreamStep(size_t worker, uint64_t sequence, v1::ReplyData data = v1::REPLY_DATA_NONE) {
    v1::StreamHeader header;
    *header.mutable_header() = HeaderOf(worker, sequence);
    header.mutable_reply()->set_data(data);
    swarm_->OpenStream(worker).Contribute(
        header, chunks_, [this](const absl::Status& status, v1::StepResponse& response) {
          Count(status, response);
        });
  }

  void Count(const absl::Status& status, const v1::StepResponse& response) {
    ++num_answered_;
    if (status.ok()) {
      ++answers_[absl::StrCat(v1::Verdict_Name(response.verdict()), " of ",
                              response.report().contributors())];
    } else {
      ++answers_[ReasonOf(status).empty() ? status.ToString() : ReasonOf(status)];
    }
  }

  // Returns when the server has judged the contributions of workers [begin, end), which wait: a
  // variant of each, which can be no contribution itself, is told that its sequence was sent
  // before.
  void AwaitJudgement(size_t begin, size_t end, uint64_t sequence) {
    v1::StepRequest request;
    v1::Section& section = *request.add_sections();
    section.set_kind(v1::SECTION_KIND_GRADIENT);
    section.mutable_data()->resize(num_elements_ * sizeof(float));
    request.mutable_reply()->set_data(v1::REPLY_DATA_NONE);
    std::vector<size_t> left(end - begin);
    std::iota(left.begin(), left.end(), begin);
    while (!left.empty()) {
      std::vector<size_t> again;  // Only the swarm's thread touches it until Wait returns.
      for (const size_t worker : left) {
        *request.mutable_header() = HeaderOf(worker, sequence);
        request.mutable_header()->set_base_version(1'000'000);
        probe_->Step(worker, request, [&, worker](const absl::Status& status, v1::StepResponse&) {
          if (ReasonOf(status) == "SEQUENCE_REUSED") return;
          EXPECT_EQ(ReasonOf(status), "VERSION_AHEAD");
          again.push_back(worker);
        });
      }
      probe_->Wait();
      ASSERT_FALSE(HasFailure());
      left = again;
    }
  }

  // The first `num_workers` workers contribute, a few of them over streams, to a round in which
  // other workers are expected too. Returns when all of them wait.
  void WaitForever(size_t num_workers) {
    constexpr size_t kStreams = 20;
    for (size_t worker = 0; worker < num_workers; ++worker) {
      worker < kStreams ? StreamStep(worker, 1) : Step(worker, 1);
    }
    AwaitJudgement(0, num_workers, 1);
    EXPECT_EQ(num_answered_, 0u);
  }

  v1::Session GetSession() const { return client_->GetSession(kSession).value(); }

  std::optional<ServerProcess> server_;
  std::optional<testing::Proxy> proxy_;
  std::optional<Client> client_;
  uint64_t num_elements_ = 0;
  v1::Section ones_;
  std::shared_ptr<const Swarm::Frames> chunks_;  // the frames of ones_
  std::vector<v1::JoinResponse> joined_;
  std::atomic<size_t> num_answered_{0};
  Answers answers_;  // Only the swarm's thread touches it until Wait returns.
  std::optional<Swarm> swarm_;
  std::optional<Swarm> probe_;  // for calls beside those that wait
};

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
    EXPECT_EQ(answers_, (Answers{{"VERDICT_APPLIED of 1000", kWorkers}}));
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
  EXPECT_EQ(answers_, (Answers{{"VERDICT_APPLIED of 5000", kWorkers}}));
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
  EXPECT_EQ(answers_, (Answers{{"VERDICT_APPLIED of 400", kWorkers}}));
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
  EXPECT_EQ(answers_, (Answers{{"DRAINING", kWorkers - 1}}));
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
  EXPECT_EQ(answers_, (Answers{{"SESSION_DELETED", kWorkers - 1}}));
  // A new session under the same id tells workers of the old one that the history changed, and a
  // round of the new session closes.
  answers_.clear();
  Create(1000);
  Step(0, 1);
  swarm_->Wait();
  EXPECT_EQ(answers_, (Answers{{"HISTORY_CHANGED", 1}}));
  JoinAll(1);
  Step(0, 1);
  swarm_->Wait();
  EXPECT_EQ(answers_["VERDICT_APPLIED of 1"], 1u);
}

}  // namespace
}  // namespace talweg
