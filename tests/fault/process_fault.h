// SPDX-License-Identifier: Apache-2.0
//
// Real worker processes that train one session with the real server, in a mode and a shape of calls
// that a test's parameter names; and how a test drives them. For the fault tests only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "gtest/gtest.h"
#include "talweg/v1/session.pb.h"
#include "tests/fault/worker_process.h"
#include "tests/support/server_process.h"
#include "tests/support/swarm.h"

namespace talweg::testing {

struct FaultShape {
  v1::AggregationMode mode;
  bool streamed;  // contributions go over streams
};

// The parameters are the two shapes of synchronous rounds. One thread.
class ProcessFaultTest : public ::testing::TestWithParam<FaultShape> {
 protected:
  static constexpr char kSession[] = "s";
  static constexpr uint64_t kLeaseSeconds = 3;   // so long that a busy machine starves no heartbeat
  static constexpr uint64_t kMaxStaleness = 40;  // in versions, of an asynchronous session

  // Creates the session: a vector of zeros under gradient descent with rate 0.5.
  void SetUp() override;

  // So many that a stream needs several chunks.
  static size_t num_elements() { return GetParam().streamed ? 150'000 : 1'000; }
  static bool synchronous() { return GetParam().mode == v1::AGGREGATION_MODE_SYNCHRONOUS; }

  // A paced worker rests before each contribution. So do free workers of sessions that are not
  // synchronous.
  enum class How { kFree, kPaced, kDriven };
  // Starts a new process of a worker, which connects to `address` or, if that is empty, straight to
  // the server. The process has joined when this returns.
  WorkerProcess& Start(const std::string& worker, How how, const std::string& address = "");

  uint64_t version() const { return client_->GetSession(kSession).value().version(); }
  // Returns when the session is at version `wanted` or later.
  void AwaitVersion(uint64_t wanted) const;
  // Returns when the leases of exactly `wanted` workers run.
  void AwaitLive(uint32_t wanted) const;
  // The names of the workers that are part of version `wanted`, in order.
  std::vector<std::string> MembersOf(uint64_t wanted) const;

  // Returns when the server has judged the contribution that a worker was told to make: a variant
  // of it, which can be no contribution itself, is told that the sequence was sent before.
  void AwaitJudgement(const WorkerProcess& process);
  // Makes each of `processes` contribute once, and returns when all were answered.
  void StepTogether(const std::vector<WorkerProcess*>& processes);
  // Makes all workers that still work leave, and checks what must hold at the end.
  void EndAll();

  ServerProcess server_{{"--log_level=error"}};
  std::optional<Client> client_;
  Swarm swarm_{server_.address(), 1};
  std::vector<std::unique_ptr<WorkerProcess>> workers_;
};

// The parameters are the shapes of every mode, of bounded staleness, and of asynchronous sessions.
class AnyModeFaultTest : public ProcessFaultTest {};
class BoundedStalenessFaultTest : public ProcessFaultTest {};
class AsynchronousFaultTest : public ProcessFaultTest {};

}  // namespace talweg::testing
