// SPDX-License-Identifier: Apache-2.0
//
// Sections between wire and core: what the sections of a request must be, and the names of dtypes.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/dtype.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "talweg/v1/section.pb.h"

namespace talweg::server {

// What a contribution brings: a gradient, or a difference, which is what a worker's own steps added
// to the parameters and so the negative of a gradient.
struct ContributedVector {
  core::EncodedVector numbers;  // borrowed from the request
  bool is_difference = false;
};

// The vectors of a contribution, borrowed from the request.
struct ContributedVectors {
  ContributedVector gradient;
  core::EncodedVector statistics;
};

// The only gradient or difference in `sections`, of exactly `num_elements`, and the only
// statistics, of exactly `num_statistics`; of a vector without elements there is no section.
// SECTION_MISSING, SECTION_REPEATED, SECTION_UNEXPECTED, SECTION_SIZE_MISMATCH.
absl::StatusOr<ContributedVectors> VectorsOf(
    const google::protobuf::RepeatedPtrField<v1::Section>& sections, uint64_t num_elements,
    uint64_t num_statistics);

// A whole vector of parameters in one section, of exactly `num_elements`. SECTION_UNEXPECTED,
// SECTION_SIZE_MISMATCH.
absl::StatusOr<core::EncodedVector> ParametersOf(const v1::Section& section, uint64_t num_elements);

// The numbers of a section of `kind`, of any count. SECTION_UNEXPECTED; SECTION_SIZE_MISMATCH if
// the bytes are no whole number of elements.
absl::StatusOr<core::EncodedVector> NumbersOf(const v1::Section& section, v1::SectionKind kind);

// DTYPE_UNSPECIFIED means float32. FIELD_OUT_OF_RANGE, naming `field`, for an unknown value.
absl::StatusOr<core::Dtype> DtypeFromProto(v1::Dtype dtype, absl::string_view field);
v1::Dtype DtypeToProto(core::Dtype dtype);

}  // namespace talweg::server
