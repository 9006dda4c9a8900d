// SPDX-License-Identifier: Apache-2.0
//
// Sections between wire and core: what a request's sections must be, and how a vector is cut into
// sections of a reply.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "talweg/v1/section.pb.h"

namespace talweg::server {

// The bytes of the one gradient in `sections`, of exactly `num_elements` float32. They are borrowed
// from the request. SECTION_MISSING, SECTION_REPEATED, SECTION_UNEXPECTED, SECTION_SIZE_MISMATCH.
absl::StatusOr<absl::string_view> GradientBytes(
    const google::protobuf::RepeatedPtrField<v1::Section>& sections, uint64_t num_elements);

// The same for a whole vector of parameters in one section.
absl::StatusOr<absl::string_view> ParameterBytes(const v1::Section& section, uint64_t num_elements);

// Copies elements [begin, begin + count) of `values` into `section`, as float32.
void FillSection(v1::SectionKind kind, absl::Span<const float> values, uint64_t begin,
                 uint64_t count, v1::Section& section);

}  // namespace talweg::server
