// SPDX-License-Identifier: Apache-2.0
//
// The workers: processes that join, pull, compute, contribute and try again as the client library
// does. They also crash, freeze, leave, come back, and go on although another process has their
// name.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/simulation/messages.h"
#include "tests/simulation/network.h"
#include "tests/simulation/world_config.h"

namespace talweg::simulation {

struct FleetTotals {
  uint64_t processes = 0;
  uint64_t contributions = 0;  // sent for the first time
  uint64_t retries = 0;
  uint64_t answers = 0;  // verdicts that reached their worker
  uint64_t applied = 0;
  uint64_t faults = 0;
};

class Fleet {
 public:
  // All outlive the fleet.
  Fleet(const WorldConfig& world, Random& random, Agenda& agenda, Network& network);

  // Starts every worker's first process, spread over some seconds.
  void Start();
  void OnWake(uint32_t process, uint64_t generation);
  void OnBeat(uint32_t process);
  void OnReply(const Reply& reply);
  // Something happens to some worker.
  void OnFault(Trace& trace);
  // From now on every worker is there and awake, and nothing happens to any of them.
  void CalmDown();

  // Verdicts that a worker got since the calm began, and how many of them were APPLIED.
  uint64_t CalmAnswers(uint32_t worker) const { return people_[worker].calm_answers; }
  uint64_t CalmApplied(uint32_t worker) const { return people_[worker].calm_applied; }
  // Whether the worker's last process has joined and, for all that it knows, is still a member of
  // the session.
  bool HasPlace(uint32_t worker) const;
  bool IsObserver(uint32_t worker) const { return worker < world_.num_observers; }
  const FleetTotals& totals() const { return totals_; }

 private:
  enum class Phase : uint8_t { kBorn, kJoining, kPulling, kComputing, kContributing, kIdle, kOver };
  struct Process {
    uint32_t worker = 0;
    Phase phase = Phase::kBorn;
    bool beats = false;
    bool impatient = false;  // It gives up the call under way for its next contribution.
    bool may_wait = true;
    uint64_t nonce = 0;  // of the join under way; 0 for none
    uint64_t incarnation = 0;
    uint64_t history = 0;
    uint64_t version = 0;  // of the parameters it has
    uint64_t sequence = 0;
    uint64_t lease_seconds = 0;  // as the server told it last
    Payload payload;
    uint64_t call = 0;  // under way
    uint64_t generation = 0;
    Nanoseconds frozen_until = -1;
  };
  // A name, and the process that bears it.
  struct Person {
    uint32_t process = 0;  // the latest
    double slowness = 1;
    uint64_t calm_answers = 0;
    uint64_t calm_applied = 0;
  };

  void Begin(uint32_t worker, Nanoseconds delay);
  void Sleep(uint32_t process, Nanoseconds delay);
  void Die(uint32_t process);
  void Call(uint32_t process, Subject subject);
  // The process joins from now on, in as many attempts as it takes.
  void BeginToJoin(uint32_t process);
  void Compute(uint32_t process);
  void Contribute(uint32_t process);
  // After a while the process joins again, as the next incarnation of its name.
  void JoinLater(uint32_t process);
  void OnJoined(uint32_t process, const Reply& reply);
  void OnAnswer(uint32_t process, const Reply& reply);
  void OnError(uint32_t process, const Reply& reply);

  const WorldConfig& world_;
  Random& random_;
  Agenda& agenda_;
  Network& network_;
  std::vector<Process> processes_;
  std::vector<Person> people_;
  uint64_t next_content_ = 0;
  uint64_t last_nonce_ = 0;
  bool calm_ = false;
  FleetTotals totals_;
};

}  // namespace talweg::simulation
