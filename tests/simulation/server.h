// SPDX-License-Identifier: Apache-2.0
//
// The server: the real host of one session (server/runtime) in virtual time, and the disk that its
// states come back from after a crash. What the host decides is shown to the oracle before it is
// kept, and when the host answers, what it says must be durable and visible.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/runtime/incarnation_counter.h"
#include "server/runtime/session_host.h"
#include "tests/simulation/messages.h"
#include "tests/simulation/network.h"
#include "tests/simulation/oracle.h"
#include "tests/simulation/session_of_world.h"
#include "tests/simulation/virtual_env.h"
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
  void OnAlarm(uint64_t number) { env_.OnAlarm(number); }
  void OnTask(uint64_t number) { env_.OnTask(number); }
  // The connection of a call broke.
  void OnBroken(uint32_t process, uint64_t call);
  void OnSnapshot();
  void OnCrash();
  void OnDelete();
  void OnConfigure();
  void OnClockJump();
  void CalmDown();

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
    uint64_t num_kept = 0;  // changes that were durable, and must not be lost in silence
    std::shared_ptr<const Oracle::Memory> memory;
  };
  struct Caller {
    uint32_t process = 0;
    uint64_t call = 0;
  };
  // A contribution that the host has.
  struct Asked {
    Caller caller;
    Payload payload;
  };

  void Host(std::unique_ptr<core::Session> session);
  void Save();
  void Saw(const server::Decision& decision);
  void Contribute(const Request& request, const Caller& caller);
  void ToldStep(uint64_t ticket, const absl::StatusOr<server::StepOutcome>& outcome);
  void ToldJoin(Reply reply, const absl::StatusOr<server::JoinOutcome>& outcome);
  std::shared_ptr<core::StagedGradient> Stage(const std::vector<float>& gradient) const;
  uint64_t VisibleVersion() const;
  void CheckTold(uint64_t version);
  Reply MakeReply(Subject subject, const Caller& caller) const;
  void Shut(const char* reason);

  const WorldConfig& world_;
  Random& random_;
  Agenda& agenda_;
  Network& network_;
  Oracle& oracle_;
  Trace& trace_;
  VirtualEnv env_;

  std::shared_ptr<server::SessionHost> host_;  // null: down, or there is no session
  core::Session* session_ = nullptr;           // the host's
  Settings settings_;                          // asked for last
  Settings kept_settings_;                     // accepted last
  bool is_deleted_ = false;
  std::vector<Snapshot> snapshots_;             // of this session, the last at the back
  server::IncarnationCounter incarnations_;     // durable, outside every snapshot
  absl::flat_hash_map<uint64_t, Asked> asked_;  // by ticket
  absl::flat_hash_map<std::pair<uint32_t, uint64_t>, uint64_t> tickets_;  // by process and call
  bool calm_ = false;
  std::vector<bool> counted_in_calm_;  // by worker
  ServerTotals totals_;
};

}  // namespace talweg::simulation
