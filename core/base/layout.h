// SPDX-License-Identifier: Apache-2.0
//
// The layout: an ordered list of named tensors that together are one flat float32 vector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/checksum.h"

namespace talweg::core {

struct TensorSpec {
  std::string name;
  std::vector<uint64_t> shape;  // empty: a scalar
};

// The digest of a layout: FNV-1a, 64 bits, over `4:name:2,3;` of each tensor in order, in which the
// first number counts the bytes of the name. It is simple in every language. Starts as
// kEmptyLayoutDigest; AddToLayoutDigest returns the digest of the layout that has one more tensor.
inline constexpr uint64_t kEmptyLayoutDigest = kEmptyFnv1a;
uint64_t AddToLayoutDigest(uint64_t digest, absl::string_view name,
                           absl::Span<const uint64_t> shape);

class Layout {
 public:
  static constexpr size_t kMaxTensors = 65536;
  static constexpr size_t kMaxDimensions = 8;
  static constexpr size_t kMaxNameBytes = 256;
  static constexpr uint64_t kMaxElements = uint64_t{1} << 40;

  // Checks names (unique, 1 to 256 bytes of printable ASCII without spaces), shapes (at most 8
  // dimensions, each >= 1) and the total (at most 2^40 elements, no overflow). Fails with
  // LAYOUT_INVALID, naming the field ("tensors[3].shape").
  static absl::StatusOr<Layout> Create(std::vector<TensorSpec> tensors);

  absl::Span<const TensorSpec> tensors() const { return tensors_; }
  // The first element of each tensor in the flat vector.
  absl::Span<const uint64_t> offsets() const { return offsets_; }
  // How many elements tensor `index` has.
  uint64_t size_of(size_t index) const;
  uint64_t num_elements() const { return num_elements_; }
  // About how many bytes the names and shapes themselves take.
  uint64_t memory_bytes() const { return memory_bytes_; }
  // See AddToLayoutDigest.
  uint64_t digest() const { return digest_; }

 private:
  Layout() = default;

  std::vector<TensorSpec> tensors_;
  std::vector<uint64_t> offsets_;
  uint64_t num_elements_ = 0;
  uint64_t memory_bytes_ = 0;
  uint64_t digest_ = 0;
};

}  // namespace talweg::core
