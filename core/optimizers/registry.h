// SPDX-License-Identifier: Apache-2.0
//
// The catalogue as a plain table: a row a method. Conversion from the wire, echoed defaults, range
// errors, memory accounting, snapshots, live changes and the resume test walk it.
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
  // Bytes of all slots, and of what a step needs besides (Optimizer::ScratchBytes). Scalars are not
  // counted.
  uint64_t (*state_bytes)(const Config& config, const ParameterSpace& space);
  // State as before the first step: zeros, but for what `config` says; it is of this row and valid.
  std::unique_ptr<Optimizer> (*create)(const Config& config, const ParameterSpace& space);
  // Decoupled weight decay where the session does not say: part of some methods' definition.
  double default_decay = 0;
  // Names of the roles that a tensor may have beside the usual one (TensorRole).
  absl::Span<const absl::string_view> tensor_roles = {};

  // The role of this name; nothing if the method has no such role.
  std::optional<TensorRole> FindRole(absl::string_view role) const;
};

// Every method, in the order of the tutorial.
absl::Span<const Method> Methods();

// Null where no method has this name.
const Method* FindMethod(absl::string_view name);

}  // namespace talweg::core
