// SPDX-License-Identifier: Apache-2.0
//
// The part of a whole vector that a shard names.
#pragma once

#include "absl/types/span.h"
#include "core/base/shard.h"

namespace talweg::core {

template <class T>
absl::Span<T> View(absl::Span<T> whole, Shard shard) {
  return whole.subspan(shard.begin, shard.size());
}

}  // namespace talweg::core
