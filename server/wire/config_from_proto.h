// SPDX-License-Identifier: Apache-2.0
//
// Session configurations between wire and core. A path in an error starts at the message that was
// given; the caller puts the place of that message in its request in front (PrefixField).
#pragma once

#include "absl/status/statusor.h"
#include "core/session/initial_values.h"
#include "core/session/session_config.h"
#include "google/protobuf/field_mask.pb.h"
#include "talweg/v1/session.pb.h"

namespace talweg::server {

// Resolves a configuration: checks everything, fills in every default. LAYOUT_INVALID,
// FIELD_REQUIRED, FIELD_OUT_OF_RANGE, HYPERPARAMETER_OUT_OF_RANGE.
absl::StatusOr<core::SessionConfig> ConfigFromProto(const v1::SessionConfig& config);

// The resolved configuration, every default spelled out.
v1::SessionConfig ConfigToProto(const core::SessionConfig& config);

// `current` with the paths of `mask` taken from `wanted`; a path that is unset in `wanted` returns
// to its default. FIELD_OUT_OF_RANGE if a path names no field, FIELD_REQUIRED if the mask is empty.
absl::StatusOr<core::SessionConfig> MergeConfig(const core::SessionConfig& current,
                                                const v1::SessionConfig& wanted,
                                                const google::protobuf::FieldMask& mask);

// The plan of seeded values. INITIAL_VALUES_INVALID and the errors of ReadFields.
absl::StatusOr<core::InitialValues> InitialValuesFromProto(const core::Layout& layout,
                                                           const v1::SeededValues& values);

}  // namespace talweg::server
