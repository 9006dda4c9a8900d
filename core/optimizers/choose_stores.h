// SPDX-License-Identifier: Apache-2.0
//
// How a step writes the next version.
#pragma once

#include <cstddef>

#include "absl/types/span.h"
#include "core/kernels/stores.h"

namespace talweg::core {

// A vector of 16 MiB, beside its gradient and slots, is larger than the caches of a server: none of
// it would still be in the cache when it is read.
inline constexpr size_t kStreamingElements = size_t{4} << 20;

// Takes the whole vectors `from` and `to`, not a shard of them.
inline Stores ChooseStores(absl::Span<const float> from, absl::Span<float> to) {
  return to.size() >= kStreamingElements && to.data() != from.data() ? Stores::kStreaming
                                                                     : Stores::kCached;
}

}  // namespace talweg::core
