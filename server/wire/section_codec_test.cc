// SPDX-License-Identifier: Apache-2.0
#include "server/wire/section_codec.h"

#include <cstring>
#include <string>
#include <vector>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Sections = google::protobuf::RepeatedPtrField<v1::Section>;

constexpr uint64_t kElements = 5;

v1::Section Whole(v1::SectionKind kind, size_t num_bytes = kElements * sizeof(float)) {
  v1::Section section;
  section.set_kind(kind);
  section.set_data(std::string(num_bytes, '\1'));
  return section;
}

Sections One(const v1::Section& section) {
  Sections sections;
  *sections.Add() = section;
  return sections;
}

Sections Gradient() { return One(Whole(v1::SECTION_KIND_GRADIENT)); }

void ExpectRefused(const absl::Status& status, const std::string& reason,
                   const std::string& field) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(core::ReasonName(status), reason) << status;
  EXPECT_EQ(core::FieldName(status), field) << status;
}

// Of a contribution without statistics.
absl::StatusOr<ContributedVector> GradientOf(const Sections& sections, uint64_t num_elements) {
  const absl::StatusOr<ContributedVectors> vectors = VectorsOf(sections, num_elements, 0);
  if (!vectors.ok()) return vectors.status();
  return vectors->gradient;
}

void ExpectGradientRefused(const Sections& sections, const std::string& reason,
                           const std::string& field) {
  ExpectRefused(GradientOf(sections, kElements).status(), reason, field);
}

TEST(GradientOfTest, BorrowsTheBytesOfTheRequest) {
  const Sections sections = Gradient();
  const absl::StatusOr<ContributedVector> vector = GradientOf(sections, kElements);
  ASSERT_TRUE(vector.ok()) << vector.status();
  EXPECT_FALSE(vector->is_difference);
  EXPECT_EQ(vector->numbers.dtype, core::Dtype::kFloat32);
  EXPECT_EQ(vector->numbers.bytes.data(), sections[0].data().data());
  EXPECT_EQ(vector->numbers.bytes.size(), kElements * sizeof(float));
}

TEST(GradientOfTest, DifferenceMayStandInItsPlace) {
  const Sections sections = One(Whole(v1::SECTION_KIND_DIFFERENCE));
  const absl::StatusOr<ContributedVector> vector = GradientOf(sections, kElements);
  ASSERT_TRUE(vector.ok()) << vector.status();
  EXPECT_TRUE(vector->is_difference);
  EXPECT_EQ(vector->numbers.bytes.data(), sections[0].data().data());
}

TEST(GradientOfTest, DtypeMayBeSaidOrNot) {
  Sections sections = Gradient();
  sections[0].set_dtype(v1::DTYPE_FLOAT32);
  EXPECT_TRUE(GradientOf(sections, kElements).ok());
  sections[0].set_dtype(v1::DTYPE_UNSPECIFIED);
  EXPECT_TRUE(GradientOf(sections, kElements).ok());
}

TEST(GradientOfTest, MissingSectionIsRefused) {
  ExpectGradientRefused(Sections(), "SECTION_MISSING", "sections");
}

TEST(GradientOfTest, SecondGradientIsRefused) {
  Sections sections = Gradient();
  *sections.Add() = Whole(v1::SECTION_KIND_GRADIENT);
  ExpectGradientRefused(sections, "SECTION_REPEATED", "sections[1]");
  sections[1].set_kind(v1::SECTION_KIND_DIFFERENCE);
  ExpectGradientRefused(sections, "SECTION_REPEATED", "sections[1]");
  sections[0].set_kind(v1::SECTION_KIND_DIFFERENCE);
  ExpectGradientRefused(sections, "SECTION_REPEATED", "sections[1]");
}

TEST(GradientOfTest, OtherKindsAreRefusedWhereverTheyStand) {
  ExpectGradientRefused(One(Whole(v1::SECTION_KIND_PARAMETERS)), "SECTION_UNEXPECTED",
                        "sections[0].kind");
  ExpectGradientRefused(One(Whole(v1::SECTION_KIND_UNSPECIFIED)), "SECTION_UNEXPECTED",
                        "sections[0].kind");
  ExpectGradientRefused(One(Whole(static_cast<v1::SectionKind>(99))), "SECTION_UNEXPECTED",
                        "sections[0].kind");
  Sections sections = Gradient();
  *sections.Add() = Whole(v1::SECTION_KIND_UPDATE);
  ExpectGradientRefused(sections, "SECTION_UNEXPECTED", "sections[1].kind");
}

TEST(GradientOfTest, KindsAreToldByName) {
  const auto refusal = [](v1::SectionKind kind) {
    return std::string(GradientOf(One(Whole(kind)), kElements).status().message());
  };
  EXPECT_EQ(refusal(v1::SECTION_KIND_PARAMETERS),
            "section is of kind PARAMETERS, expected kind GRADIENT");
  EXPECT_EQ(refusal(v1::SECTION_KIND_UNSPECIFIED), "section is of no kind, expected kind GRADIENT");
  EXPECT_EQ(refusal(static_cast<v1::SectionKind>(99)),
            "section is of the unknown kind 99, expected kind GRADIENT");
}

TEST(GradientOfTest, PiecesOfElementsAreToldInElements) {
  const Sections sections = One(Whole(v1::SECTION_KIND_GRADIENT, 6));
  EXPECT_EQ(GradientOf(sections, kElements).status().message(),
            "section has 6 bytes, which are no whole elements of 4 bytes");
}

TEST(GradientOfTest, OtherDtypesAreRefused) {
  Sections sections = Gradient();
  sections[0].set_dtype(static_cast<v1::Dtype>(99));
  ExpectGradientRefused(sections, "SECTION_UNEXPECTED", "sections[0].dtype");
}

TEST(GradientOfTest, HalvesTakeTwoBytesAnElement) {
  for (const auto& [proto, dtype] : {std::pair(v1::DTYPE_BFLOAT16, core::Dtype::kBfloat16),
                                     std::pair(v1::DTYPE_FLOAT16, core::Dtype::kFloat16)}) {
    Sections sections = One(Whole(v1::SECTION_KIND_GRADIENT, 2 * kElements));
    sections[0].set_dtype(proto);
    const auto vector = GradientOf(sections, kElements);
    ASSERT_TRUE(vector.ok()) << vector.status();
    EXPECT_EQ(vector->numbers.dtype, dtype);
    sections = Gradient();
    sections[0].set_dtype(proto);
    ExpectGradientRefused(sections, "SECTION_SIZE_MISMATCH", "sections[0].data");
    EXPECT_EQ(DtypeToProto(dtype), proto);
  }
}

TEST(GradientOfTest, ValuesMayStandInTheDatasPlace) {
  Sections sections;
  v1::Section& section = *sections.Add();
  section.set_kind(v1::SECTION_KIND_GRADIENT);
  for (size_t i = 0; i < kElements; ++i) section.add_values(0.5f * static_cast<float>(i));
  const auto vector = GradientOf(sections, kElements);
  ASSERT_TRUE(vector.ok()) << vector.status();
  const absl::string_view bytes = vector->numbers.bytes;
  ASSERT_EQ(bytes.size(), kElements * sizeof(float));
  EXPECT_EQ(std::memcmp(bytes.data(), section.values().data(), bytes.size()), 0);
  ExpectRefused(GradientOf(sections, kElements + 1).status(), "SECTION_SIZE_MISMATCH",
                "sections[0].values");
  section.set_dtype(v1::DTYPE_BFLOAT16);
  ExpectGradientRefused(sections, "SECTION_UNEXPECTED", "sections[0].values");
  section.set_dtype(v1::DTYPE_FLOAT32);
  section.set_data("1234");
  ExpectGradientRefused(sections, "SECTION_UNEXPECTED", "sections[0].values");
}

TEST(GradientOfTest, AnOffsetIsRefused) {
  Sections sections = Gradient();
  sections[0].set_begin_element(1);
  ExpectGradientRefused(sections, "SECTION_UNEXPECTED", "sections[0].begin_element");
}

TEST(GradientOfTest, SizesThatAreNotTheLayoutsAreRefused) {
  constexpr size_t kBytes = kElements * sizeof(float);
  // Nothing, one element and one byte too few, one byte and one element too many.
  for (const size_t bytes : {size_t{0}, kBytes - 4, kBytes - 1, kBytes + 1, kBytes + 4}) {
    ExpectGradientRefused(One(Whole(v1::SECTION_KIND_GRADIENT, bytes)), "SECTION_SIZE_MISMATCH",
                          "sections[0].data");
  }
}

TEST(GradientOfTest, SizeMismatchTellsGotAndExpected) {
  const absl::Status status =
      GradientOf(One(Whole(v1::SECTION_KIND_GRADIENT, 16)), kElements).status();
  EXPECT_THAT(status.message(), HasSubstr("section has 4 elements (16 bytes), the layout has 5"));
}

TEST(GradientOfTest, SizeOfAHugeLayoutDoesNotWrapAround) {
  // 2^62 elements are 2^64 bytes: what wraps to 0 must not fit an empty section.
  ExpectRefused(GradientOf(One(Whole(v1::SECTION_KIND_GRADIENT, 0)), uint64_t{1} << 62).status(),
                "SECTION_SIZE_MISMATCH", "sections[0].data");
}

TEST(ParametersOfTest, TakesAWholeVectorOfParametersOnly) {
  const v1::Section section = Whole(v1::SECTION_KIND_PARAMETERS);
  const auto bytes = ParametersOf(section, kElements);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(bytes->bytes.data(), section.data().data());
  ExpectRefused(ParametersOf(Whole(v1::SECTION_KIND_GRADIENT), kElements).status(),
                "SECTION_UNEXPECTED", "kind");
  ExpectRefused(ParametersOf(section, kElements + 1).status(), "SECTION_SIZE_MISMATCH", "data");
  v1::Section moved = section;
  moved.set_begin_element(3);
  ExpectRefused(ParametersOf(moved, kElements).status(), "SECTION_UNEXPECTED", "begin_element");
}

TEST(VectorsOfTest, StatisticsStandBesideTheGradientInAnyOrder) {
  Sections sections;
  v1::Section& statistics = *sections.Add();
  statistics.set_kind(v1::SECTION_KIND_STATISTICS);
  statistics.set_dtype(v1::DTYPE_BFLOAT16);
  statistics.set_data(std::string(2 * 3, 'x'));
  *sections.Add() = Whole(v1::SECTION_KIND_GRADIENT);
  const auto vectors = VectorsOf(sections, kElements, 3);
  ASSERT_TRUE(vectors.ok()) << vectors.status();
  EXPECT_EQ(vectors->statistics.dtype, core::Dtype::kBfloat16);
  EXPECT_EQ(vectors->statistics.bytes.data(), sections[0].data().data());
  EXPECT_EQ(vectors->gradient.numbers.bytes.data(), sections[1].data().data());
  // Alone.
  sections.RemoveLast();
  ASSERT_TRUE(VectorsOf(sections, 0, 3).ok());
  ExpectRefused(VectorsOf(sections, kElements, 3).status(), "SECTION_MISSING", "sections");
  ExpectRefused(VectorsOf(sections, kElements, 0).status(), "SECTION_UNEXPECTED",
                "sections[0].kind");
  ExpectRefused(VectorsOf(sections, 0, 4).status(), "SECTION_SIZE_MISMATCH", "sections[0].data");
  *sections.Add() = sections[0];
  ExpectRefused(VectorsOf(sections, 0, 3).status(), "SECTION_REPEATED", "sections[1]");
  ExpectRefused(VectorsOf(Gradient(), kElements, 3).status(), "SECTION_MISSING", "sections");
  ExpectRefused(VectorsOf(Gradient(), 0, 3).status(), "SECTION_UNEXPECTED", "sections[0].kind");
}

}  // namespace
}  // namespace talweg::server
