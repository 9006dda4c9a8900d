// SPDX-License-Identifier: Apache-2.0
//
// How a kernel writes a vector that it does not read. The bits are the same either way.
#pragma once

namespace talweg::core {

enum class Stores {
  kCached,     // Through the caches: for data that is read again soon.
  kStreaming,  // Past them, which saves reading each line first: for vectors far larger than
               // caches. A vector that is not aligned to 64 bytes is written as with kCached.
};

}  // namespace talweg::core
