// SPDX-License-Identifier: Apache-2.0
//
// Numbers on a 64-byte boundary, which are zero when they are made.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

#include "absl/types/span.h"

namespace talweg::core {

// Memory for `num_elements` of `element_bytes` each, all bits zero; null if there are no elements.
// Large vectors ask for huge pages. Throws std::bad_alloc as `new` does. std::free frees the
// memory.
void* AllocateAligned(size_t num_elements, size_t element_bytes);

struct FreeAligned {
  void operator()(void* data) const;
};

// Movable, owns its memory. Thread-compatible.
template <class T>
class AlignedVector {
  static_assert(std::is_arithmetic_v<T>, "zero bits must be a zero");

 public:
  static constexpr size_t kAlignment = 64;

  AlignedVector() = default;
  // `num_elements` zeros. Throws std::bad_alloc as `new` does.
  explicit AlignedVector(size_t num_elements)
      : data_(static_cast<T*>(AllocateAligned(num_elements, sizeof(T)))), size_(num_elements) {}

  absl::Span<T> span() { return {data_.get(), size_}; }
  absl::Span<const T> span() const { return {data_.get(), size_}; }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  std::unique_ptr<T[], FreeAligned> data_;
  size_t size_ = 0;
};

using AlignedBuffer = AlignedVector<float>;

}  // namespace talweg::core
