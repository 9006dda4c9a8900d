// SPDX-License-Identifier: Apache-2.0
//
// The server: one session's queue, timer and disk around an Engine, as server/runtime is built. An
// event that must not come while a step is taken waits for the end of the step. The oracle is shown
// everything that the engine is handed, and everything that it says.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "tests/simulation/engine.h"
#include "tests/simulation/messages.h"
#include "tests/simulation/network.h"
#include "tests/simulation/oracle.h"
#include "tests/simulation/world_config.h"

namespace talweg::simulation {

struct ServerTotals {
  uint64_t events = 0;    // handed to the machine
  uint64_t versions = 0;  // made
  uint64_t folded = 0;    // contributions that are part of a version
  uint64_t crashes = 0;
  uint64_t new_histories = 0;
  uint64_t deletions = 0;
  uint64_t changes = 0;  // of the configuration
  uint64_t jumps = 0;    // of the clock
};

class Server {
 public:
  // All outlive the server.
  Server(const WorldConfig& world, Random& random, Agenda& agenda, Network& network, Oracle& oracle,
         Trace& trace);

  // Creates the session, or brings it back from what was saved.
  void Begin();
  void OnRequest(const Request& request);
  void OnTick(uint64_t generation);
  void OnStepDone(uint64_t generation);
  // The connection of a call broke.
  void OnBroken(uint32_t process, uint64_t call);
  void OnSnapshot();
  void OnCrash();
  void OnDelete();
  void OnConfigure();
  void OnClockJump();
  void CalmDown() { calm_ = true; }

  // Whether the worker is in a version that was made since the calm began.
  bool CountedInCalm(uint32_t worker) const { return counted_in_calm_[worker]; }
  // The settings that were asked for last.
  const Settings& settings() const { return settings_; }
  const ServerTotals& totals() const { return totals_; }

 private:
  // A saved state.
  struct Snapshot {
    std::string state;
    Settings settings;
    uint64_t marks = 0;  // durable changes so far, which must not be lost in silence
    std::shared_ptr<const Oracle::Memory> memory;
  };
  struct Caller {
    uint32_t process = 0;
    uint64_t call = 0;
  };
  // An event on its way to the engine, and the caller that is told what comes of it.
  struct Input {
    core::Event event;
    Caller caller;
    Payload payload;
    Subject subject = Subject::kPull;
    uint64_t incarnation = 0;
  };

  Nanoseconds Now() const { return agenda_.now() + clock_offset_; }
  void Take(Input input);
  void Feed(const Input& input);
  void Follow(const core::Effects& effects);
  void Tell(const Input& input, const core::Effects& effects);
  void TellReleased(const core::Effects& effects);
  void FinishStep();
  void Drain();
  void Save();
  Reply MakeReply(Subject subject, const Caller& caller) const;
  void Rearm();
  void Shut(const char* reason);

  const WorldConfig& world_;
  Random& random_;
  Agenda& agenda_;
  Network& network_;
  Oracle& oracle_;
  Trace& trace_;

  std::unique_ptr<Engine> engine_;  // null if the server is down, or if there is no session
  Settings settings_;
  bool is_deleted_ = false;
  std::vector<Snapshot> snapshots_;  // of this session, the last at the back
  uint64_t marks_ = 0;
  uint64_t next_incarnation_ = 1;  // durable, outside every snapshot
  uint64_t next_ticket_ = 1;
  absl::flat_hash_map<uint64_t, Caller> waiting_;                         // by ticket
  absl::flat_hash_map<std::pair<uint32_t, uint64_t>, uint64_t> tickets_;  // by process and call
  bool step_open_ = false;
  std::deque<Input> backlog_;
  Nanoseconds clock_offset_ = 0;
  Nanoseconds armed_ = 0;    // when the agenda has a tick; 0: there is none
  uint64_t generation_ = 0;  // of timers
  bool calm_ = false;
  std::vector<bool> counted_in_calm_;  // by worker
  ServerTotals totals_;
};

}  // namespace talweg::simulation
