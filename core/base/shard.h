// SPDX-License-Identifier: Apache-2.0
//
// How work over the flat vector is cut. Everything that sums works on fixed blocks of kBlock
// elements, and a shard is a whole number of blocks (the last may be short), so that no result
// depends on where the cuts are, or on which thread did what.
#pragma once

#include <algorithm>
#include <cstddef>

#include "absl/types/span.h"

namespace talweg::core {

inline constexpr size_t kBlock = 4096;         // elements of a summation block
inline constexpr size_t kShard = 16 * kBlock;  // elements of a shard by default: 256 KiB

// Elements [begin, end) of the flat vector. `begin` is a multiple of kBlock, and so is `end`,
// unless it is the end of the vector.
struct Shard {
  size_t begin = 0;
  size_t end = 0;
  size_t size() const { return end - begin; }
};

inline size_t NumBlocks(size_t num_elements) { return (num_elements + kBlock - 1) / kBlock; }
inline size_t NumShards(size_t num_elements, size_t shard_elements = kShard) {
  return (num_elements + shard_elements - 1) / shard_elements;
}
// Shard `index` of a vector that is cut every `shard_elements` (a multiple of kBlock).
inline Shard ShardAt(size_t index, size_t num_elements, size_t shard_elements = kShard) {
  const size_t begin = index * shard_elements;
  return {begin, std::min(begin + shard_elements, num_elements)};
}

// Calls at(part) for what `shard` has in common with each block, in order.
template <class At>
void ForEachBlock(Shard shard, const At& at) {
  for (size_t begin = shard.begin; begin < shard.end;) {
    const size_t end = std::min(shard.end, (begin / kBlock + 1) * kBlock);
    at(Shard{begin, end});
    begin = end;
  }
}

// The part of the whole vector that `shard` names.
template <class T>
absl::Span<T> View(absl::Span<T> whole, Shard shard) {
  return whole.subspan(shard.begin, shard.size());
}

}  // namespace talweg::core
