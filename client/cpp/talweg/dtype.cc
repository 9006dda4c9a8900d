// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/dtype.h"

#include "core/base/dtype.h"

namespace talweg {
namespace {

core::Dtype CoreDtype(v1::Dtype dtype) {
  if (dtype == v1::DTYPE_BFLOAT16) return core::Dtype::kBfloat16;
  return dtype == v1::DTYPE_FLOAT16 ? core::Dtype::kFloat16 : core::Dtype::kFloat32;
}

}  // namespace

void EncodeFloats(v1::Dtype dtype, absl::Span<const float> values, char* bytes) {
  core::FromFloat32(CoreDtype(dtype), values, bytes);
}

void DecodeFloats(v1::Dtype dtype, const char* bytes, absl::Span<float> values) {
  core::ToFloat32(CoreDtype(dtype), bytes, values);
}

}  // namespace talweg
