// SPDX-License-Identifier: Apache-2.0
//
// The parameters of one version.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base/aligned_buffer.h"

namespace talweg::core {

struct Parameters {
  explicit Parameters(size_t num_elements) : values(num_elements) {}
  uint64_t version = 0;
  AlignedBuffer values;  // [num_elements]
};

}  // namespace talweg::core
