// SPDX-License-Identifier: Apache-2.0
#include "server/wire/source_from_proto.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "core/base/status_macros.h"
#include "core/kernels/squared_norm.h"
#include "server/wire/config_from_proto.h"
#include "server/wire/section_codec.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

// Reads the whole vector once.
absl::Status CheckAllFinite(const core::EncodedVector& vector, const core::Layout& layout,
                            absl::string_view field) {
  float block[core::kBlock];
  const size_t element_bytes = core::DtypeBytes(vector.dtype);
  for (uint64_t begin = 0; begin < layout.num_elements(); begin += core::kBlock) {
    const absl::string_view piece =
        vector.bytes.substr(begin * element_bytes, core::kBlock * element_bytes);
    const absl::Span<float> values(block, piece.size() / element_bytes);
    core::ToFloat32(vector.dtype, piece.data(), values);
    TALWEG_RETURN_IF_ERROR(CheckFinite(values, begin, layout, field));
  }
  return absl::OkStatus();
}

absl::StatusOr<InitialSource> Uploaded(const v1::Section& section, const core::Layout& layout) {
  absl::StatusOr<core::EncodedVector> vector = ParametersOf(section, layout.num_elements());
  if (!vector.ok()) return core::PrefixField(vector.status(), "initial_values.uploaded");
  TALWEG_RETURN_IF_ERROR(CheckAllFinite(*vector, layout,
                                        section.values().empty()
                                            ? "initial_values.uploaded.data"
                                            : "initial_values.uploaded.values"));
  return InitialSource(*vector);
}

}  // namespace

absl::Status CheckFinite(absl::Span<const float> values, uint64_t begin_element,
                         const core::Layout& layout, absl::string_view field) {
  for (size_t begin = 0; begin < values.size(); begin += core::kBlock) {
    const absl::Span<const float> block = values.subspan(begin, core::kBlock);
    if (std::isfinite(core::SquaredNorm(block))) continue;
    const auto* const bad = std::find_if_not(block.begin(), block.end(),
                                             [](float value) { return std::isfinite(value); });
    const uint64_t element = begin_element + static_cast<uint64_t>(bad - values.begin());
    const auto after = std::upper_bound(layout.offsets().begin(), layout.offsets().end(), element);
    const size_t tensor = static_cast<size_t>(after - layout.offsets().begin()) - 1;
    return MakeError(Reason::kInitialValuesInvalid,
                     absl::StrCat("element ", element - layout.offsets()[tensor], " of tensor \"",
                                  layout.tensors()[tensor].name, "\" is ",
                                  std::isnan(*bad) ? "a NaN" : "infinite"),
                     field);
  }
  return absl::OkStatus();
}

absl::StatusOr<InitialSource> SourceFromProto(const v1::InitialValues& values,
                                              const core::Layout& layout) {
  switch (values.source_case()) {
    case v1::InitialValues::kUploaded:
      return Uploaded(values.uploaded(), layout);
    case v1::InitialValues::kSeeded: {
      absl::StatusOr<core::InitialValues> plan = InitialValuesFromProto(layout, values.seeded());
      if (!plan.ok()) return core::PrefixField(plan.status(), "initial_values.seeded");
      return InitialSource(*std::move(plan));
    }
    case v1::InitialValues::SOURCE_NOT_SET:
      break;
  }
  return MakeError(Reason::kFieldRequired, "a session needs initial values", "initial_values");
}

}  // namespace talweg::server
