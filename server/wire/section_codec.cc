// SPDX-License-Identifier: Apache-2.0
#include "server/wire/section_codec.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

// A section that covers the whole vector. Fields are named within the section.
absl::StatusOr<absl::string_view> WholeVector(const v1::Section& section, v1::SectionKind kind,
                                              uint64_t num_elements) {
  if (section.kind() != kind) {
    return MakeError(Reason::kSectionUnexpected,
                     absl::StrCat("section has kind ", static_cast<int>(section.kind()),
                                  ", expected ", v1::SectionKind_Name(kind)),
                     "kind");
  }
  if (section.dtype() != v1::DTYPE_UNSPECIFIED && section.dtype() != v1::DTYPE_FLOAT32) {
    return MakeError(Reason::kSectionUnexpected,
                     absl::StrCat("section has dtype ", static_cast<int>(section.dtype()),
                                  ", expected DTYPE_FLOAT32"),
                     "dtype");
  }
  if (section.begin_element() != 0) {
    return MakeError(Reason::kSectionUnexpected,
                     absl::StrCat("section begins at element ", section.begin_element(),
                                  ", expected 0: it covers the whole layout"),
                     "begin_element");
  }
  const std::string& data = section.data();
  if (data.size() % sizeof(float) != 0 || data.size() / sizeof(float) != num_elements) {
    return MakeError(
        Reason::kSectionSizeMismatch,
        absl::StrCat("section has ", data.size(), " bytes, expected ", num_elements * sizeof(float),
                     ": the layout has ", num_elements, " elements"),
        "data");
  }
  return absl::string_view(data);
}

}  // namespace

absl::StatusOr<absl::string_view> GradientBytes(
    const google::protobuf::RepeatedPtrField<v1::Section>& sections, uint64_t num_elements) {
  if (sections.empty()) {
    return MakeError(Reason::kSectionMissing, "a contribution needs a section of kind GRADIENT",
                     "sections");
  }
  absl::StatusOr<absl::string_view> bytes;
  for (int index = 0; index < sections.size(); ++index) {
    const std::string field = absl::StrCat("sections[", index, "]");
    if (index > 0 && sections[index].kind() == v1::SECTION_KIND_GRADIENT) {
      return MakeError(Reason::kSectionRepeated, "a contribution has one section of kind GRADIENT",
                       field);
    }
    bytes = WholeVector(sections[index], v1::SECTION_KIND_GRADIENT, num_elements);
    if (!bytes.ok()) return core::PrefixField(bytes.status(), field);
  }
  return bytes;
}

absl::StatusOr<absl::string_view> ParameterBytes(const v1::Section& section,
                                                 uint64_t num_elements) {
  return WholeVector(section, v1::SECTION_KIND_PARAMETERS, num_elements);
}

void FillSection(v1::SectionKind kind, absl::Span<const float> values, uint64_t begin,
                 uint64_t count, v1::Section& section) {
  section.set_kind(kind);
  section.set_dtype(v1::DTYPE_FLOAT32);
  section.set_begin_element(begin);
  section.mutable_data()->assign(reinterpret_cast<const char*>(values.data() + begin),
                                 count * sizeof(float));
}

}  // namespace talweg::server
