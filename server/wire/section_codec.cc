// SPDX-License-Identifier: Apache-2.0
#include "server/wire/section_codec.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

// "kind GRADIENT"; "no kind" if none is set, and the number of a kind that is not known.
std::string KindText(v1::SectionKind kind) {
  if (kind == v1::SECTION_KIND_UNSPECIFIED) return "no kind";
  const std::string& name = v1::SectionKind_Name(kind);
  if (name.empty()) return absl::StrCat("the unknown kind ", static_cast<int>(kind));
  return absl::StrCat("kind ", absl::StripPrefix(name, "SECTION_KIND_"));
}

// A section that covers the whole vector. Fields are named within the section.
absl::StatusOr<core::EncodedVector> WholeVector(const v1::Section& section, v1::SectionKind kind,
                                                uint64_t num_elements,
                                                absl::string_view whole_has = "the layout has ") {
  TALWEG_ASSIGN_OR_RETURN(const core::EncodedVector vector, NumbersOf(section, kind));
  if (section.begin_element() != 0) {
    return MakeError(Reason::kSectionUnexpected,
                     absl::StrCat("section begins at element ", section.begin_element(),
                                  ", expected 0: it covers the whole layout"),
                     "begin_element");
  }
  const uint64_t element_bytes = core::DtypeBytes(vector.dtype);
  if (vector.bytes.size() / element_bytes != num_elements) {  // a product could wrap around
    return MakeError(
        Reason::kSectionSizeMismatch,
        absl::StrCat("section has ", vector.bytes.size() / element_bytes, " elements (",
                     vector.bytes.size(), " bytes), ", whole_has, num_elements),
        section.values().empty() ? "data" : "values");
  }
  return vector;
}

}  // namespace

absl::StatusOr<core::Dtype> DtypeFromProto(v1::Dtype dtype, absl::string_view field) {
  switch (dtype) {
    case v1::DTYPE_UNSPECIFIED:
    case v1::DTYPE_FLOAT32:
      return core::Dtype::kFloat32;
    case v1::DTYPE_BFLOAT16:
      return core::Dtype::kBfloat16;
    case v1::DTYPE_FLOAT16:
      return core::Dtype::kFloat16;
    default:
      return MakeError(Reason::kFieldOutOfRange,
                       absl::StrCat(field, " has the unknown value ", static_cast<int>(dtype)),
                       field);
  }
}

v1::Dtype DtypeToProto(core::Dtype dtype) {
  switch (dtype) {
    case core::Dtype::kFloat32:
      return v1::DTYPE_FLOAT32;
    case core::Dtype::kBfloat16:
      return v1::DTYPE_BFLOAT16;
    case core::Dtype::kFloat16:
      return v1::DTYPE_FLOAT16;
  }
  core::CheckFailed(__FILE__, __LINE__, "a dtype has a name on the wire");
}

absl::StatusOr<core::EncodedVector> NumbersOf(const v1::Section& section, v1::SectionKind kind) {
  if (section.kind() != kind) {
    return MakeError(
        Reason::kSectionUnexpected,
        absl::StrCat("section is of ", KindText(section.kind()), ", expected ", KindText(kind)),
        "kind");
  }
  const absl::StatusOr<core::Dtype> dtype = DtypeFromProto(section.dtype(), "dtype");
  if (!dtype.ok()) {
    return MakeError(Reason::kSectionUnexpected, dtype.status().message(), "dtype");
  }
  if (!section.values().empty()) {
    if (!section.data().empty() || *dtype != core::Dtype::kFloat32) {
      return MakeError(Reason::kSectionUnexpected,
                       "section has values, which go with float32 and without data", "values");
    }
    return core::EncodedVector{*dtype,
                               {reinterpret_cast<const char*>(section.values().data()),
                                static_cast<size_t>(section.values().size()) * sizeof(float)}};
  }
  if (section.data().size() % core::DtypeBytes(*dtype) != 0) {
    return MakeError(
        Reason::kSectionSizeMismatch,
        absl::StrCat("section has ", section.data().size(),
                     " bytes, which are no whole elements of ", core::DtypeBytes(*dtype), " bytes"),
        "data");
  }
  return core::EncodedVector{*dtype, section.data()};
}

absl::StatusOr<ContributedVectors> VectorsOf(
    const google::protobuf::RepeatedPtrField<v1::Section>& sections, uint64_t num_elements,
    uint64_t num_statistics) {
  if (num_elements + num_statistics == 0 && !sections.empty()) {
    return MakeError(Reason::kSectionUnexpected,
                     "sections is set, but a worker that abstains has no gradient", "sections");
  }
  ContributedVectors vectors;
  bool has_gradient = false;
  bool has_statistics = false;
  for (int index = 0; index < sections.size(); ++index) {
    const std::string field = absl::StrCat("sections[", index, "]");
    const v1::SectionKind kind = sections[index].kind();
    const bool is_statistics = kind == v1::SECTION_KIND_STATISTICS && num_statistics > 0;
    const bool is_difference = kind == v1::SECTION_KIND_DIFFERENCE;
    const bool is_gradient = is_difference || kind == v1::SECTION_KIND_GRADIENT;
    if ((is_gradient && has_gradient) || (is_statistics && has_statistics)) {
      return MakeError(Reason::kSectionRepeated,
                       is_statistics
                           ? "a contribution has one section of kind STATISTICS"
                           : "a contribution has one section of kind GRADIENT or DIFFERENCE",
                       field);
    }
    if (num_elements == 0 && !is_statistics) {
      return MakeError(
          Reason::kSectionUnexpected,
          absl::StrCat("section is of ", KindText(kind), ", but the contribution has no gradient"),
          absl::StrCat(field, ".kind"));
    }
    const absl::StatusOr<core::EncodedVector> numbers =
        is_statistics ? WholeVector(sections[index], kind, num_statistics, "the statistics have ")
                      : WholeVector(sections[index],
                                    is_difference ? kind : v1::SECTION_KIND_GRADIENT, num_elements);
    if (!numbers.ok()) return core::PrefixField(numbers.status(), field);
    if (is_statistics) {
      has_statistics = true;
      vectors.statistics = *numbers;
    } else {
      has_gradient = true;
      vectors.gradient = {*numbers, is_difference};
    }
  }
  if (num_elements > 0 && !has_gradient) {
    return MakeError(Reason::kSectionMissing,
                     "a contribution needs a section of kind GRADIENT or DIFFERENCE", "sections");
  }
  if (num_statistics > 0 && !has_statistics) {
    return MakeError(Reason::kSectionMissing,
                     "a contribution with header.statistics needs a section of kind STATISTICS",
                     "sections");
  }
  return vectors;
}

absl::StatusOr<core::EncodedVector> ParametersOf(const v1::Section& section,
                                                 uint64_t num_elements) {
  return WholeVector(section, v1::SECTION_KIND_PARAMETERS, num_elements);
}

}  // namespace talweg::server
