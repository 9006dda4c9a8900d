// SPDX-License-Identifier: Apache-2.0
//
// The steps of a session, as a watcher is told them (watchers that do not read: operator_test.cc).
// Through the C++ client, so without gRPC's types.
#include <atomic>
#include <cmath>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/grpc_transport.h"
#include "core/session/run_series.h"
#include "gtest/gtest.h"
#include "server/server.h"

namespace talweg {
namespace {

constexpr absl::Duration kGrace = absl::Seconds(30);
constexpr absl::Duration kSoon = absl::Seconds(8);

v1::CreateSessionRequest RequestOf(const std::string& session_id) {
  v1::CreateSessionRequest request;
  request.set_session_id(session_id);
  v1::Tensor& tensor = *request.mutable_config()->mutable_layout()->add_tensors();
  tensor.set_name("w");
  tensor.add_shape(2);
  request.mutable_config()->mutable_optimizer()->mutable_gradient_descent();
  request.mutable_config()->mutable_schedule()->set_learning_rate(0.5);
  v1::InitialValueRule& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
  rule.set_tensors("*");
  rule.mutable_constant();
  return request;
}

class WatchWireTest : public ::testing::Test {
 protected:
  void Start() {
    auto started = server::Server::Start({.address = "127.0.0.1:0", .num_threads = 2});
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
    ClientOptions options;
    options.retry.overall_timeout = absl::Seconds(5);
    client_ = std::make_unique<Client>(*Client::Connect(server_->address(), options));
  }
  Session Join(const std::string& session_id) {
    EXPECT_TRUE(client_->CreateSession(RequestOf(session_id)).ok());
    return *client_->Join(session_id, "a");
  }
  v1::StepReport Step(Session& session, double loss) {
    std::vector<float> parameters(2);
    const absl::StatusOr<StepResult> result =
        session.Step({static_cast<float>(loss), 1.0f}, absl::MakeSpan(parameters), {loss});
    EXPECT_TRUE(result.ok()) << result.status();
    return *result->report;
  }
  std::vector<v1::StepRecord> Watch(const std::string& session_id, WatchOptions options = {}) {
    std::vector<v1::StepRecord> records;
    const absl::Status status =
        client_->WatchSession(session_id, options, [&](const v1::WatchSessionResponse& message) {
          EXPECT_LE(message.records_size(), 512);
          for (const v1::StepRecord& record : message.records()) records.push_back(record);
          return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok()) << status;
    return records;
  }
  absl::Status WatchFails(const std::string& session_id, const WatchOptions& options = {}) {
    return client_->WatchSession(session_id, options,
                                 [](const v1::WatchSessionResponse&) { return absl::OkStatus(); });
  }

  std::unique_ptr<server::Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(WatchWireTest, TellsEachStepAsItsContributorWasTold) {
  Start();
  Session session = Join("s");
  const absl::Time before = absl::Now();
  std::vector<v1::StepReport> reports;
  for (int step = 0; step < 10; ++step) reports.push_back(Step(session, step));
  const std::vector<v1::StepRecord> records = Watch("s");
  ASSERT_EQ(records.size(), 10u);
  absl::Time last = before - absl::Seconds(1);
  for (size_t index = 0; index < 10; ++index) {
    const v1::StepRecord& record = records[index];
    EXPECT_EQ(record.version(), index + 1);
    EXPECT_EQ(record.report().SerializeAsString(), reports[index].SerializeAsString());
    EXPECT_EQ(record.report().loss(), static_cast<double>(index));
    const absl::Time time =
        absl::FromUnixSeconds(record.time().seconds()) + absl::Nanoseconds(record.time().nanos());
    EXPECT_GE(time, last);
    last = time;
    EXPECT_GT(record.step_seconds(), 0);
    EXPECT_GE(record.seconds_since_last(), record.step_seconds());
  }
  EXPECT_LE(last, absl::Now() + absl::Seconds(1));
  EXPECT_EQ(Watch("s", {.after_version = 8}).size(), 2u);
  EXPECT_TRUE(Watch("s", {.after_version = 100}).empty());
}

// The default policy takes gradients of the current version only, so of several workers it refuses
// most.
TEST_F(WatchWireTest, RefusalsAndVersionsTogetherAreWhatTheWorkersSent) {
  constexpr int kWorkers = 4;
  constexpr int kSteps = 25;  // of each worker
  Start();
  Join("s");
  std::vector<Session> workers;
  for (int index = 0; index < kWorkers; ++index) {
    workers.push_back(*client_->Join("s", std::string(1, static_cast<char>('b' + index))));
  }
  std::atomic<uint64_t> applied{0};
  std::atomic<uint64_t> refused{0};
  const auto step = [&](Session& worker, std::vector<float> gradient) {
    std::vector<float> parameters(2);
    const absl::StatusOr<StepResult> result = worker.Step(gradient, absl::MakeSpan(parameters));
    ASSERT_TRUE(result.ok()) << result.status();
    if (result->applied()) ++applied;
    if (result->verdict == v1::VERDICT_TOO_STALE) ++refused;
  };
  // All at version 0: one is taken.
  for (Session& worker : workers) step(worker, {1, 1});
  EXPECT_EQ(applied, 1u);
  EXPECT_EQ(refused, 3u);
  std::vector<std::thread> threads;
  for (Session& worker : workers) {
    threads.emplace_back([&step, &worker] {
      for (int count = 1; count < kSteps; ++count) step(worker, {1, 1});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(applied + refused, uint64_t{kWorkers * kSteps});
  // A gradient that is not finite is counted apart. The step after it tells of all before.
  std::vector<float> parameters(2);
  ASSERT_TRUE(workers[0].Pull(absl::MakeSpan(parameters)).ok());
  EXPECT_EQ(workers[0].Step({NAN, 1}, absl::MakeSpan(parameters))->verdict,
            v1::VERDICT_REJECTED_NON_FINITE);
  step(workers[0], {1, 1});

  const v1::Session session = *client_->GetSession("s");
  EXPECT_EQ(session.version(), applied);
  EXPECT_EQ(session.refusals().too_stale(), refused);
  EXPECT_EQ(session.refusals().rejected_non_finite(), 1u);
  EXPECT_EQ(session.refusals().round_closed(), 0u);
  EXPECT_EQ(session.version() + session.refusals().too_stale(), uint64_t{kWorkers * kSteps + 1});
  const v1::StepRecord last = Watch("s").back();
  EXPECT_EQ(last.version(), session.version());
  EXPECT_EQ(last.refusals().SerializeAsString(), session.refusals().SerializeAsString());
}

TEST_F(WatchWireTest, IsNoPartOfTheState) {
  Start();
  Session session = Join("s");
  Step(session, 1);
  const uint32_t checksum = client_->GetSession("s", {.checksum = true})->state_checksum();
  Watch("s");
  EXPECT_EQ(client_->GetSession("s", {.checksum = true})->state_checksum(), checksum);
}

TEST_F(WatchWireTest, FollowsStepByStepUntilTheSessionIsDeleted) {
  Start();
  Session session = Join("s");
  Step(session, 0.5);
  std::atomic<uint64_t> seen{0};
  auto ended = std::async(std::launch::async, [&] {
    return client_->WatchSession("s", {.follow = true},
                                 [&](const v1::WatchSessionResponse& message) {
                                   for (const v1::StepRecord& record : message.records())
                                     seen = record.version();
                                   return absl::OkStatus();
                                 });
  });
  for (uint64_t version = 1; version <= 50; ++version) {
    while (seen < version) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_EQ(seen, version);
    Step(session, 0.5);
  }
  ASSERT_TRUE(client_->DeleteSession("s").ok());
  EXPECT_EQ(ReasonOf(ended.get()), "SESSION_DELETED");
}

TEST_F(WatchWireTest, ErrorsNameTheirReason) {
  Start();
  Session session = Join("s");
  EXPECT_EQ(ReasonOf(WatchFails("nobody")), "SESSION_NOT_FOUND");
  EXPECT_EQ(ReasonOf(WatchFails("")), "FIELD_REQUIRED");
  EXPECT_EQ(ReasonOf(WatchFails("s", {.history = session.history() ^ 1})), "HISTORY_CHANGED");
  EXPECT_TRUE(WatchFails("s", {.history = session.history()}).ok());
}

TEST_F(WatchWireTest, ALongRunIsCoveredFromItsFirstStepToItsNewest) {
  constexpr uint64_t kSteps = core::RunSeries::kCapacity + 100;
  Start();
  Session session = Join("s");
  for (uint64_t step = 0; step < kSteps; ++step) Step(session, 1);
  const std::vector<v1::StepRecord> records = Watch("s");
  EXPECT_LE(records.size(), core::RunSeries::kCapacity);
  EXPECT_GE(records.size(), core::RunSeries::kCapacity / 2);
  EXPECT_EQ(records.front().version(), 1u);
  EXPECT_EQ(records.back().version(), kSteps);
}

TEST_F(WatchWireTest, AServerThatStopsSaysSoAndDoesNotWait) {
  Start();
  Session session = Join("s");
  Step(session, 1);
  std::atomic<int> num_messages{0};
  std::vector<std::future<absl::Status>> ends;
  constexpr int kWatchers = 8;
  for (int watcher = 0; watcher < kWatchers; ++watcher) {
    ends.push_back(std::async(std::launch::async, [&] {
      v1::WatchSessionRequest request;
      request.set_session_id("s");
      request.set_follow(true);
      const auto transport = ConnectGrpc(server_->address(), 1 << 20, absl::Seconds(10)).value();
      return transport->Watch(
          request,
          [&](const v1::WatchSessionResponse&) {
            ++num_messages;
            return absl::OkStatus();
          },
          [] { return absl::OkStatus(); }, absl::InfiniteDuration());
    }));
  }
  while (num_messages < kWatchers) absl::SleepFor(absl::Milliseconds(1));
  const absl::Time stop = absl::Now();
  server_->Stop(kGrace);
  EXPECT_LT(absl::Now() - stop, kSoon);
  for (std::future<absl::Status>& end : ends) EXPECT_EQ(ReasonOf(end.get()), "DRAINING");
}

}  // namespace
}  // namespace talweg
