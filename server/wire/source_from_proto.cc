// SPDX-License-Identifier: Apache-2.0
#include "server/wire/source_from_proto.h"

#include <cmath>
#include <utility>

#include "absl/strings/string_view.h"
#include "core/base/reasons.h"
#include "core/kernels/squared_norm.h"
#include "server/wire/config_from_proto.h"
#include "server/wire/section_codec.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

bool AllFinite(const core::EncodedVector& vector) {
  float block[core::kBlock];
  const size_t element_bytes = core::DtypeBytes(vector.dtype);
  absl::string_view bytes = vector.bytes;
  while (!bytes.empty()) {
    const absl::string_view piece = bytes.substr(0, core::kBlock * element_bytes);
    const absl::Span<float> values(block, piece.size() / element_bytes);
    core::ToFloat32(vector.dtype, piece.data(), values);
    if (!std::isfinite(core::SquaredNorm(values))) return false;
    bytes.remove_prefix(piece.size());
  }
  return true;
}

absl::StatusOr<InitialSource> Uploaded(const v1::Section& section, const core::Layout& layout) {
  absl::StatusOr<core::EncodedVector> vector = ParametersOf(section, layout.num_elements());
  if (!vector.ok()) return core::PrefixField(vector.status(), "initial_values.uploaded");
  if (!AllFinite(*vector)) {
    return MakeError(Reason::kInitialValuesInvalid, "initial values hold a NaN or an infinity",
                     section.values().empty() ? "initial_values.uploaded.data"
                                              : "initial_values.uploaded.values");
  }
  return InitialSource(*vector);
}

}  // namespace

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
