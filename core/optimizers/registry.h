// SPDX-License-Identifier: Apache-2.0
//
// The catalogue as a plain table: a row a method. Conversion from the wire, echoed defaults, range
// errors, memory accounting, snapshots, live changes and the resume test walk it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/field.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

struct Method {
  absl::string_view name;  // as in the proto's oneof, on the command line and in metrics
  // A config with every default.
  std::unique_ptr<Config> (*default_config)();
  // Bytes of all slots for `num_elements` parameters. Scalars are not counted.
  uint64_t (*state_bytes)(const Config& config, uint64_t num_elements);
  // Zeroed state for `num_elements` (> 0) parameters; `config` is of this row and valid.
  std::unique_ptr<Optimizer> (*create)(const Config& config, size_t num_elements);
};

// Every method, in the order of the tutorial.
absl::Span<const Method> Methods();

// Null where no method has this name.
const Method* FindMethod(absl::string_view name);

}  // namespace talweg::core
