// SPDX-License-Identifier: Apache-2.0
//
// A float vector on a 64-byte boundary, zeroed at birth.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/types/span.h"

namespace talweg::core {

// Movable, owns its memory. Thread-compatible.
class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 64;

  AlignedBuffer() = default;
  // `num_elements` zeros. Large buffers ask for huge pages. Throws std::bad_alloc as `new` does.
  explicit AlignedBuffer(size_t num_elements);

  absl::Span<float> span() { return {data_.get(), size_}; }
  absl::Span<const float> span() const { return {data_.get(), size_}; }
  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(float* data) const;
  };
  std::unique_ptr<float[], Free> data_;
  size_t size_ = 0;
};

}  // namespace talweg::core
