// SPDX-License-Identifier: Apache-2.0
//
// The tensors that a shard of the flat vector touches.
#pragma once

#include <algorithm>
#include <cstddef>

#include "core/base/layout.h"
#include "core/base/shard.h"

namespace talweg::core {

// Calls at(part, tensor) for what `shard` has in common with each tensor, in order.
template <class At>
void ForEachTensor(const Layout& layout, Shard shard, const At& at) {
  const absl::Span<const uint64_t> offsets = layout.offsets();
  const auto next = std::upper_bound(offsets.begin(), offsets.end(), uint64_t{shard.begin});
  size_t tensor = static_cast<size_t>(next - offsets.begin()) - 1;
  for (size_t begin = shard.begin; begin < shard.end; ++tensor) {
    const size_t end = std::min<uint64_t>(shard.end, offsets[tensor] + layout.size_of(tensor));
    at(Shard{begin, end}, tensor);
    begin = end;
  }
}

}  // namespace talweg::core
