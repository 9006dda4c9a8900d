// SPDX-License-Identifier: Apache-2.0
//
// Thousands of workers of one session, in this process, against the real server; and how a test
// drives them. For the fault tests only.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "gtest/gtest.h"
#include "talweg/v1/session_service.pb.h"
#include "talweg/v1/training_service.pb.h"
#include "tests/support/proxy.h"
#include "tests/support/server_process.h"
#include "tests/support/swarm.h"

namespace talweg::testing {

// How often each verdict, with its number of contributors, and each reason came.
using SwarmAnswers = std::map<std::string, size_t>;

// One thread, beside the swarm's.
class SwarmFaultTest : public ::testing::Test {
 protected:
  static constexpr char kSession[] = "s";
  static std::string NameOf(size_t worker);

  // Starts the server with `flags`, and a swarm of `num_connections` connections to it, or to a
  // relay in front of it.
  void Start(size_t num_connections, const std::vector<std::string>& flags = {},
             bool through_proxy = false);

  // Creates a session of synchronous rounds: a vector of zeros under gradient descent.
  void Create(uint64_t num_elements);

  // The lease of each worker is `seconds` from its next sign of life on.
  void SetLease(uint64_t seconds);

  // The first `num_workers` workers say that they live.
  void HeartbeatAll(size_t num_workers);

  // All workers join at once.
  void JoinAll(size_t num_workers);

  // The header of a worker's contribution in the round that makes version `sequence`.
  v1::ContributionHeader HeaderOf(size_t worker, uint64_t sequence) const;

  // Sends a gradient of ones, and counts the answer.
  void Step(size_t worker, uint64_t sequence, v1::ReplyData data = v1::REPLY_DATA_NONE);
  void Step(Swarm& through, size_t worker, uint64_t sequence, v1::ReplyData data);
  void StreamStep(size_t worker, uint64_t sequence, v1::ReplyData data = v1::REPLY_DATA_NONE);

  // Counts an answer. Runs on the thread of a swarm.
  void Count(const absl::Status& status, const v1::StepResponse& response);

  // Returns when the server has judged the contributions of workers [begin, end), which wait: a
  // variant of each, which can be no contribution itself, is told that its sequence was sent
  // before.
  void AwaitJudgement(size_t begin, size_t end, uint64_t sequence);

  // The first `num_workers` workers contribute, a few of them over streams, to a round in which
  // other workers are expected too. Returns when all of them wait.
  void WaitForever(size_t num_workers);

  v1::Session GetSession() const { return client_->GetSession(kSession).value(); }

  std::optional<ServerProcess> server_;
  std::optional<Proxy> proxy_;
  std::optional<Client> client_;
  uint64_t num_elements_ = 0;
  v1::Section ones_;
  std::shared_ptr<const Swarm::Frames> chunks_;  // the frames of ones_
  std::vector<v1::JoinResponse> joined_;
  std::atomic<size_t> num_answered_{0};
  SwarmAnswers answers_;  // Only the swarm's thread touches it until Wait returns.
  std::optional<Swarm> swarm_;
  std::optional<Swarm> probe_;  // for calls beside those that wait
};

}  // namespace talweg::testing
