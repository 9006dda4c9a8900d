// SPDX-License-Identifier: Apache-2.0
//
// Work is a value. It consists of stages, which run one after the other. A stage consists of
// pieces, which may run on any threads at the same time. A session hands work out; a caller that
// has threads runs the work and reports its end (Session::End).
//
// To run work, call for each stage BeginStage, then RunPiece once for each piece, then EndStage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "core/base/shard.h"

namespace talweg::core {

// The parts of a session that a work may read or change, beside the arguments that it was made
// with.
enum class SessionPart : uint8_t {
  kRoundSums,  // accumulators and contributions of the open round
  kSlots,      // the method's state and the running average
};
inline constexpr size_t kNumSessionParts = 2;

// What a work does to a part while it is under way. Two works of one session may be under way at
// the same time unless one of them changes what the other one uses: a step and the copy of a
// version, a fold and the copy of the average. Slots are copied between two steps.
enum class Access : uint8_t { kNone, kReads, kChanges };

// Thread-compatible, except that RunPiece may run for different pieces of a stage at the same time.
class Work {
 public:
  struct Stage {
    std::function<size_t()> num_pieces;           // asked after `begin`; may say 0
    std::function<void(size_t piece)> run_piece;  // for each piece in [0, num_pieces())
    std::function<void()> begin = {};             // may be empty
    std::function<void()> end = {};               // may be empty
  };

  void Add(Stage stage) { stages_.push_back(std::move(stage)); }
  // Adds a stage with one piece for each shard of a vector of `num_elements`, which calls
  // run_shard(Shard). Either of the others may be empty.
  template <class RunShard>
  void AddShards(size_t num_elements, RunShard run_shard, std::function<void()> begin = {},
                 std::function<void()> end = {}) {
    Add({[num_elements] { return NumShards(num_elements); },
         [num_elements, run_shard = std::move(run_shard)](size_t piece) {
           run_shard(ShardAt(piece, num_elements));
         },
         std::move(begin), std::move(end)});
  }

  size_t NumStages() const { return stages_.size(); }
  void BeginStage(size_t stage) {
    if (stages_[stage].begin) stages_[stage].begin();
  }
  // The stage must have begun.
  size_t NumPieces(size_t stage) const { return stages_[stage].num_pieces(); }
  void RunPiece(size_t stage, size_t piece) { stages_[stage].run_piece(piece); }
  void EndStage(size_t stage) {
    if (stages_[stage].end) stages_[stage].end();
  }

  // Runs everything on the calling thread, piece after piece.
  void RunHere() {
    for (size_t stage = 0; stage < NumStages(); ++stage) {
      BeginStage(stage);
      const size_t num_pieces = NumPieces(stage);
      for (size_t piece = 0; piece < num_pieces; ++piece) RunPiece(stage, piece);
      EndStage(stage);
    }
  }

  // Which parts of its session the work uses. The function that makes the work says so.
  void Use(SessionPart part, Access access) { uses_[static_cast<size_t>(part)] = access; }
  Access UseOf(size_t part) const { return uses_[part]; }

 private:
  std::vector<Stage> stages_;
  Access uses_[kNumSessionParts] = {Access::kNone, Access::kNone};
};

}  // namespace talweg::core
