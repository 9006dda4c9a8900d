// SPDX-License-Identifier: Apache-2.0
#include "core/base/aligned_buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

namespace talweg::core {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

void* AllocateAligned(size_t num_elements, size_t element_bytes) {
  if (num_elements == 0) return nullptr;
  if (num_elements > (std::numeric_limits<size_t>::max() - kHugePage) / element_bytes) {
    throw std::bad_alloc();
  }
  const size_t bytes = num_elements * element_bytes;
  const size_t alignment = bytes >= kHugePage ? kHugePage : AlignedBuffer::kAlignment;
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  // Huge pages are a wish, not a need: if they are off, the buffer works all the same.
  if (alignment == kHugePage) (void)madvise(memory, rounded, MADV_HUGEPAGE);
  std::memset(memory, 0, bytes);
  return memory;
}

void FreeAligned::operator()(void* data) const { std::free(data); }

}  // namespace talweg::core
