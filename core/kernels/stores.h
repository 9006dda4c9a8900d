// SPDX-License-Identifier: Apache-2.0
//
// How a kernel writes a vector that it does not read. The bits are the same either way.
#pragma once

namespace talweg::core {

enum class Stores {
  kCached,     // through the caches: for what is read again soon
  kStreaming,  // past them: saves reading each line first; for vectors far larger than the caches.
               // Where the vector is not aligned to 64 bytes, as kCached.
};

}  // namespace talweg::core
