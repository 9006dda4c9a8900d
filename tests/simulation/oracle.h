// SPDX-License-Identifier: Apache-2.0
//
// Looks at every event that the session is handed and at everything it says, and names the first
// broken promise:
//
//   - what the model says must follow from an event does, and nothing else;
//   - the ledger agrees: a contribution that is told APPLIED is in exactly one version, and no
//   other
//     contribution is in any;
//   - orders and records agree with their members, exactly;
//   - with bounded staleness no worker that is too far ahead is let go;
//   - a tick is asked for when something is due;
//   - the parameters are those of the reference, bit for bit.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "tests/simulation/ledger.h"
#include "tests/simulation/messages.h"
#include "tests/simulation/model.h"
#include "tests/simulation/reference.h"
#include "tests/simulation/session_of_world.h"
#include "tests/simulation/world_config.h"

namespace talweg::simulation {

class Oracle {
 public:
  // What the oracle knew when a state was saved.
  struct Memory {
    Model::Saved model;
    Ledger::Mark mark;
    std::vector<float> parameters;
  };

  // Both outlive the oracle.
  Oracle(const WorldConfig& world, Trace& trace);

  void Created(uint64_t history, const Settings& settings, Nanoseconds now);
  std::shared_ptr<const Memory> Remember() const;
  // `history` 0 stands for the saved one. If `session` is null its state was refused.
  void Restored(const Memory& memory, uint64_t history, const Settings& settings, Nanoseconds now,
                const core::Session* session);
  // Whether saving what was loaded gave the same bytes.
  void SawCopy(bool same, Nanoseconds now);
  void Saw(const core::Event& event, const Payload& payload, const core::Effects& effects,
           const core::Session& session, Nanoseconds now);
  void Violate(Nanoseconds now, const std::string& label, const std::string& text);

  uint32_t WorkerOfTicket(uint64_t ticket) const;
  bool fine() const { return violation_.label.empty(); }
  const Violation& violation() const { return violation_; }

 private:
  void Check(bool holds, const char* label, const std::string& text);
  void CheckContribution(const core::Contribution& contribution, const Expected& expected,
                         const core::Effects& effects);
  bool IsCounted(const Key& key) const;
  void CheckReleased(const Expected& expected, const core::Effects& effects);
  void CheckOrder(const core::StepOrder& order);
  // `close_config_version` is of the configuration that the closing rule came from.
  void CheckRecord(const std::vector<Counted>& counted, const Settings& settings,
                   uint64_t close_config_version, const core::VersionRecord& record);
  // The abstentions since the version before.
  struct Abstained {
    uint32_t count = 0;
    std::set<std::string> workers;
  };
  void CheckAbstained(const Abstained& abstained, const core::VersionRecord& record);
  void CheckCounters(const core::Session& session);
  void CheckFinal(const Key& key, const core::Answer& answer);

  const WorldConfig& world_;
  Trace& trace_;
  Model model_;
  Ledger ledger_;
  Reference reference_;
  absl::flat_hash_map<uint64_t, Key> asked_;  // by the tickets that wait
  core::StepOrder order_;                     // the last one
  Nanoseconds ordered_at_ = 0;
  uint64_t fewest_late_ = 0;
  uint64_t most_late_ = 0;
  Nanoseconds now_ = 0;
  Violation violation_;
};

}  // namespace talweg::simulation
