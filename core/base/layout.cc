// SPDX-License-Identifier: Apache-2.0
#include "core/base/layout.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/reasons.h"

namespace talweg::core {
namespace {

absl::Status Invalid(absl::string_view message, absl::string_view field) {
  return MakeError(Reason::kLayoutInvalid, message, field);
}

bool IsPrintable(absl::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

uint64_t AddToLayoutDigest(uint64_t digest, absl::string_view name,
                           absl::Span<const uint64_t> shape) {
  return Fnv1a(absl::StrCat(name.size(), ":", name, ":", absl::StrJoin(shape, ","), ";"), digest);
}

absl::StatusOr<Layout> Layout::Create(std::vector<TensorSpec> tensors) {
  if (tensors.empty() || tensors.size() > kMaxTensors) {
    return Invalid(
        absl::StrCat("layout has ", tensors.size(), " tensors, allowed: 1 to ", kMaxTensors),
        "tensors");
  }
  Layout layout;
  layout.digest_ = kEmptyLayoutDigest;
  absl::flat_hash_set<absl::string_view> names;
  for (size_t index = 0; index < tensors.size(); ++index) {
    const TensorSpec& tensor = tensors[index];
    const std::string field = absl::StrCat("tensors[", index, "]");
    if (tensor.name.empty() || tensor.name.size() > kMaxNameBytes || !IsPrintable(tensor.name)) {
      return Invalid("a tensor's name is 1 to 256 bytes of printable ASCII without spaces",
                     field + ".name");
    }
    if (!names.insert(tensor.name).second) {
      return Invalid(absl::StrCat("two tensors are named \"", tensor.name, "\""), field + ".name");
    }
    if (tensor.shape.size() > kMaxDimensions) {
      return Invalid(absl::StrCat("tensor \"", tensor.name, "\" has ", tensor.shape.size(),
                                  " dimensions, allowed: 0 to ", kMaxDimensions),
                     field + ".shape");
    }
    uint64_t size = 1;
    for (const uint64_t dimension : tensor.shape) {
      if (dimension == 0) {
        return Invalid(absl::StrCat("tensor \"", tensor.name, "\" has a dimension of 0"),
                       field + ".shape");
      }
      if (dimension > kMaxElements / size) {
        return Invalid(
            absl::StrCat("tensor \"", tensor.name, "\" has more than ", kMaxElements, " elements"),
            field + ".shape");
      }
      size *= dimension;
    }
    if (size > kMaxElements - layout.num_elements_) {
      return Invalid(absl::StrCat("layout has more than ", kMaxElements, " elements"), "tensors");
    }
    // The record of a tensor with its allocations, its name and its shape.
    constexpr uint64_t kRecordBytes = 160;
    layout.memory_bytes_ +=
        kRecordBytes + tensor.name.size() + tensor.shape.size() * sizeof(uint64_t);
    layout.offsets_.push_back(layout.num_elements_);
    layout.num_elements_ += size;
    layout.digest_ = AddToLayoutDigest(layout.digest_, tensor.name, tensor.shape);
  }
  layout.tensors_ = std::move(tensors);
  return layout;
}

uint64_t Layout::size_of(size_t index) const {
  const uint64_t end = index + 1 < offsets_.size() ? offsets_[index + 1] : num_elements_;
  return end - offsets_[index];
}

}  // namespace talweg::core
