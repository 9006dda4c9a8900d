// SPDX-License-Identifier: Apache-2.0
//
// Sections between wire and core: what a request's sections must be, and how a vector is cut into
// sections of a reply.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/kernels/dtype.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "talweg/v1/section.pb.h"

namespace talweg::server {

// What a contribution brings: a gradient, or what a worker's own steps added to the parameters,
// which is a gradient's negative.
struct ContributedVector {
  core::EncodedVector numbers;  // borrowed from the request
  bool is_difference = false;
};

// The one gradient or difference in `sections`, of exactly `num_elements`. SECTION_MISSING,
// SECTION_REPEATED, SECTION_UNEXPECTED, SECTION_SIZE_MISMATCH.
absl::StatusOr<ContributedVector> GradientOf(
    const google::protobuf::RepeatedPtrField<v1::Section>& sections, uint64_t num_elements);

// The same for a whole vector of parameters in one section.
absl::StatusOr<core::EncodedVector> ParametersOf(const v1::Section& section, uint64_t num_elements);

// The numbers of a section of `kind`, however many. SECTION_UNEXPECTED, SECTION_SIZE_MISMATCH where
// the bytes are no whole number of elements.
absl::StatusOr<core::EncodedVector> NumbersOf(const v1::Section& section, v1::SectionKind kind);

// DTYPE_UNSPECIFIED is float32. FIELD_OUT_OF_RANGE, naming `field`.
absl::StatusOr<core::Dtype> DtypeFromProto(v1::Dtype dtype, absl::string_view field);
v1::Dtype DtypeToProto(core::Dtype dtype);

}  // namespace talweg::server
