// SPDX-License-Identifier: Apache-2.0
//
// Keeps what was said and recorded, and nothing else: which contribution is part of which version,
// and which final answers were given. It knows no rule of rounds, only what exactly-once means.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "core/rounds/event.h"
#include "tests/simulation/messages.h"

namespace talweg::simulation {

// What is wrong: a label that names the broken promise, and the story. Both are empty if nothing
// is.
struct Violation {
  std::string label;
  std::string text;
};

class Ledger {
 public:
  // A state may come back as it was at a mark. Then nothing that came after it has happened.
  struct Mark {
    size_t num_versions = 0;
    size_t num_answers = 0;
  };

  void Clear();
  Mark Now() const { return {versions_.size(), log_.size()}; }
  void GoBackTo(const Mark& mark);

  // A version was made.
  Violation Record(const core::VersionRecord& record, bool synchronous);
  // A contribution got its final answer.
  Violation Answer(const Key& key, const core::Answer& answer);

 private:
  struct Version {
    std::vector<Key> members;
    double total_weight = 0;
    uint32_t num_late = 0;
  };
  struct Given {
    core::Verdict verdict;
    uint64_t version;
  };

  std::vector<Version> versions_;  // 1, 2, …
  absl::flat_hash_map<Key, uint64_t> counted_in_;
  absl::flat_hash_map<Key, Given> given_;
  std::vector<Key> log_;  // keys of given_, in the order of the answers
};

}  // namespace talweg::simulation
