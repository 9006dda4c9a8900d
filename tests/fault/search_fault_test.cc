// SPDX-License-Identifier: Apache-2.0
//
// A search whose workers are killed in every generation makes the same versions, bit for bit, as
// one that nothing happens to.
#include <signal.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cpp/talweg/client.h"
#include "client/process/child_process.h"
#include "gtest/gtest.h"
#include "tests/support/server_process.h"

namespace talweg {
namespace {

constexpr uint32_t kGenerations = 10;
constexpr size_t kWorkers = 10;
constexpr size_t kKilled = 3;  // in each generation
constexpr uint32_t kPairs = 60;
constexpr size_t kElements = 5000;
// A worker's rest for each of the 6 pairs that it leases. From the first tells of a generation
// until its last ones, three rests pass: the time in which workers that hold pairs can be killed.
constexpr int kMilliseconds = 25;

class SearchFaultTest : public ::testing::Test {
 protected:
  void Create(const std::string& id) {
    v1::CreateSessionRequest request;
    request.set_session_id(id);
    v1::SessionConfig& config = *request.mutable_config();
    v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
    tensor.set_name("w");
    tensor.add_shape(kElements);
    config.mutable_optimizer()->mutable_adam();
    config.mutable_schedule()->set_learning_rate(0.01);
    config.mutable_aggregation()->set_lease_seconds(1);
    v1::SearchPolicy& search = *config.mutable_search();
    search.set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
    search.set_num_pairs(kPairs);
    search.set_sigma(0.05);
    search.set_seed(3);
    search.set_shaping(v1::SHAPING_CENTERED_RANKS);
    search.set_evaluation_seconds(1);
    search.set_max_generations(kGenerations);
    v1::InitialValueRule& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
    rule.set_tensors("*");
    rule.mutable_constant()->set_value(0.5);
    const auto created = client_.CreateSession(request);
    ASSERT_TRUE(created.ok()) << created.status();
  }

  std::unique_ptr<ChildProcess> Start(const std::string& id, const std::string& worker,
                                      int milliseconds) {
    ChildStreams streams;
    streams.errors_with_output = false;
    streams.own_process_group = false;
    auto process = ChildProcess::Start(
        TALWEG_SEARCH_FAULT_WORKER_BINARY,
        {server_.address(), id, worker, "6", absl::StrCat(milliseconds)}, streams);
    EXPECT_TRUE(process.ok()) << process.status();
    return process.ok() ? *std::move(process) : nullptr;
  }

  // Whether a worker that has ended held pairs of the generation when it did.
  static bool HeldPairs(ChildProcess& worker, uint64_t generation) {
    const std::vector<std::string> lines = worker.ReadLines();
    return !lines.empty() &&
           absl::StartsWith(lines.back(), absl::StrCat("holds ", generation, " "));
  }

  std::vector<float> Parameters(const std::string& id) {
    std::vector<float> values(kElements);
    EXPECT_TRUE(client_.Pull(id, absl::MakeSpan(values)).ok());
    return values;
  }

  testing::ServerProcess server_{{"--log_level=error"}};
  Client client_ = Client::Connect(server_.address()).value();
};

TEST_F(SearchFaultTest, WorkersKilledInEveryGenerationChangeNoBit) {
  Create("quiet");
  EXPECT_EQ(Start("quiet", "a", 0)->Wait(), 0);
  ASSERT_EQ(client_.GetSession("quiet")->version(), kGenerations);

  Create("killed");
  std::mt19937 random(7);
  std::vector<std::unique_ptr<ChildProcess>> workers;
  for (size_t worker = 0; worker < kWorkers; ++worker) {
    workers.push_back(Start("killed", absl::StrCat("w", worker), kMilliseconds));
  }
  size_t num_killed = 0;
  size_t num_holders = 0;                   // of these, the ones that held pairs
  uint32_t num_generations_of_holders = 0;  // in which at least one of them did
  for (uint64_t version = 0; version < kGenerations; ++version) {
    // In the middle of the generation: some pairs are told, and workers hold others.
    for (;;) {
      const v1::Session session = client_.GetSession("killed").value();
      if (session.version() > version) break;
      if (session.open_generation().num_told() >= kPairs / 6) break;
      absl::SleepFor(absl::Milliseconds(2));
    }
    std::shuffle(workers.begin(), workers.end(), random);
    for (size_t i = 0; i < kKilled; ++i) workers[i]->Signal(SIGKILL);
    num_killed += kKilled;
    size_t num_held = 0;
    for (size_t i = 0; i < kKilled; ++i) {
      EXPECT_EQ(workers[i]->Wait(), -SIGKILL);
      num_held += HeldPairs(*workers[i], version + 1) ? 1 : 0;
      // Under a new name: what the dead worker held is leased again when its lease is over.
      workers[i] = Start("killed", absl::StrCat("n", version, "_", i), kMilliseconds);
    }
    num_holders += num_held;
    num_generations_of_holders += num_held > 0 ? 1 : 0;
    while (client_.GetSession("killed")->version() <= version) {
      absl::SleepFor(absl::Milliseconds(2));
    }
  }
  for (const auto& worker : workers) EXPECT_EQ(worker->Wait(), 0);
  std::cout << num_holders << " of " << num_killed
            << " workers were killed while they held pairs, in " << num_generations_of_holders
            << " of " << kGenerations << " generations\n";
  EXPECT_GT(num_generations_of_holders, kGenerations / 2);
  const v1::Session session = client_.GetSession("killed").value();
  EXPECT_EQ(session.version(), kGenerations);
  EXPECT_EQ(session.last_step().search().num_counted(), kPairs);
  EXPECT_EQ(session.last_step().search().num_dropped(), 0u);
  EXPECT_EQ(Parameters("killed"), Parameters("quiet"));
}

}  // namespace
}  // namespace talweg
