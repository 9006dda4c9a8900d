// SPDX-License-Identifier: Apache-2.0
//
// The catalogue as a plain table with one row per method. Conversion from the wire, echoed
// defaults, range errors, memory accounting, snapshots, live changes and the resume test walk the
// table.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/field.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

struct Method {
  absl::string_view name;  // as in the proto's oneof, on the command line and in metrics
  // A config with every default.
  std::unique_ptr<Config> (*default_config)();
  // Bytes of all slots and of the scratch of a step (Optimizer::ScratchBytes). Scalars are not
  // counted.
  uint64_t (*state_bytes)(const Config& config, const ParameterSpace& space);
  // Makes the state before the first step: zeros, except for slots that `config` says start
  // elsewhere. `config` is of this row's type and valid.
  std::unique_ptr<Optimizer> (*create)(const Config& config, const ParameterSpace& space);
  // Decoupled weight decay if the session does not set it: some methods have one in their
  // definition.
  double default_decay = 0;
  // Names of the roles that a tensor may have beside the usual one (TensorRole).
  absl::Span<const absl::string_view> tensor_roles = {};
  // Whether the method steps the layers that the session names, by their statistics.
  bool takes_layers = false;

  // The role of this name; nothing if the method has no such role.
  std::optional<TensorRole> FindRole(absl::string_view role) const;
};

// Every method, in the order of the tutorial.
absl::Span<const Method> Methods();

// Null if no method has this name.
const Method* FindMethod(absl::string_view name);

}  // namespace talweg::core
