// SPDX-License-Identifier: Apache-2.0
//
// Groups of tensors, each of which is stepped in its own way, and how they cut the flat vector.
//
// Group 0 consists of all tensors that no pattern names; group i > 0 is entry i - 1 of the
// configuration. Adjacent tensors of one group make a run. A piece is what a block
// (core/base/shard.h) and a run have in common. Sums are taken piece by piece, whatever the shards
// are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/field.h"
#include "core/base/layout.h"
#include "core/base/shard.h"

namespace talweg::core {

struct GroupConfig {
  double learning_rate_factor = 1;  // of the schedule's rate
  double decay_factor = 1;          // of the session's weight decay, coupled and decoupled
  double max_norm = 0;    // of the group's own gradient; 0: the norm that groups share clips it
  double max_value = 0;   // of an element of its gradient; 0: the session's max_value
  bool frozen = false;    // parameters and state stay; the gradient is ignored
  bool fallback = false;  // asks for the role "fallback"

  static auto Fields() {
    using C = GroupConfig;
    return std::tuple{
        Field<C, double>{"learning_rate_factor", &C::learning_rate_factor, AtLeast(0)},
        Field<C, double>{"decay_factor", &C::decay_factor, AtLeast(0)},
        Field<C, double>{"max_norm", &C::max_norm, AtLeast(0)},
        Field<C, double>{"max_value", &C::max_value, AtLeast(0)},
        Field<C, bool>{"frozen", &C::frozen},
        Field<C, bool>{"fallback", &C::fallback, {}, Change::kFixed}};
  }
};

// The roles of tensors (core/optimizers/optimizer.h) that a group may ask for: each is a flag of
// that name in GroupConfig, and a method that lacks the role refuses the flag.
inline constexpr absl::string_view kGroupRoles[] = {"fallback"};

// The role that a group asks for, one of `roles`; empty: the usual one. Fails with
// FIELD_OUT_OF_RANGE, naming the second flag, if the group asks for two roles.
absl::StatusOr<absl::string_view> RoleAskedFor(
    const Config& group, absl::Span<const absl::string_view> roles = kGroupRoles);

struct ParameterGroup {
  std::string tensors;  // name or pattern, see name_pattern.h
  ConfigOf<GroupConfig> config;
};

// Says which element is in which group. A value.
class GroupMap {
 public:
  // Puts every tensor in group 0.
  explicit GroupMap(const Layout& layout);

  // A tensor belongs to the first group whose pattern matches its name. Fails with
  // FIELD_OUT_OF_RANGE, naming the field ("groups[2].tensors"), if MatchTensors refuses the
  // patterns.
  static absl::StatusOr<GroupMap> Create(const Layout& layout,
                                         absl::Span<const ParameterGroup> groups);

  size_t num_groups() const { return num_groups_; }
  size_t GroupOfTensor(size_t tensor) const { return group_of_tensor_[tensor]; }

  // Bytes that the map needs, and one double for each run: the sums by piece need it.
  uint64_t memory_bytes() const {
    return group_of_tensor_.size() * sizeof(uint32_t) +
           runs_.size() * (sizeof(Run) + sizeof(double));
  }

  // Pieces are numbered in the order of their elements; some numbers may be left out.
  size_t num_pieces() const { return NumBlocks(num_elements_) + runs_.size(); }

  // Calls at(part, group) for what `shard` has in common with each run, in order.
  template <class At>
  void ForEachRun(Shard shard, const At& at) const {
    size_t run = RunAt(shard.begin);
    for (size_t begin = shard.begin; begin < shard.end; ++run) {
      const size_t end = std::min<uint64_t>(shard.end, runs_[run].end);
      at(Shard{begin, end}, size_t{runs_[run].group});
      begin = end;
    }
  }

  // Calls at(piece, group, number) for each piece of `shard`, in order.
  template <class At>
  void ForEachPiece(Shard shard, const At& at) const {
    size_t run = RunAt(shard.begin);
    for (size_t begin = shard.begin; begin < shard.end;) {
      const size_t block = begin / kBlock;
      const size_t end = std::min<uint64_t>({shard.end, (block + 1) * kBlock, runs_[run].end});
      at(Shard{begin, end}, size_t{runs_[run].group}, block + run);
      if (end == runs_[run].end) ++run;
      begin = end;
    }
  }

 private:
  struct Run {
    uint64_t end;
    uint32_t group;
  };

  void MakeRuns(const Layout& layout);
  size_t RunAt(uint64_t element) const;

  size_t num_groups_ = 1;
  uint64_t num_elements_ = 0;
  std::vector<uint32_t> group_of_tensor_;
  std::vector<Run> runs_;  // in order, without gaps
};

}  // namespace talweg::core
