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

void ExpectGradientRefused(const Sections& sections, const std::string& reason,
                           const std::string& field) {
  ExpectRefused(GradientBytes(sections, kElements).status(), reason, field);
}

TEST(GradientBytesTest, BorrowsTheBytesOfTheRequest) {
  const Sections sections = Gradient();
  const absl::StatusOr<absl::string_view> bytes = GradientBytes(sections, kElements);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(bytes->data(), sections[0].data().data());
  EXPECT_EQ(bytes->size(), kElements * sizeof(float));
}

TEST(GradientBytesTest, DtypeMayBeSaidOrNot) {
  Sections sections = Gradient();
  sections[0].set_dtype(v1::DTYPE_FLOAT32);
  EXPECT_TRUE(GradientBytes(sections, kElements).ok());
  sections[0].set_dtype(v1::DTYPE_UNSPECIFIED);
  EXPECT_TRUE(GradientBytes(sections, kElements).ok());
}

TEST(GradientBytesTest, MissingSectionIsRefused) {
  ExpectGradientRefused(Sections(), "SECTION_MISSING", "sections");
}

TEST(GradientBytesTest, SecondGradientIsRefused) {
  Sections sections = Gradient();
  *sections.Add() = Whole(v1::SECTION_KIND_GRADIENT);
  ExpectGradientRefused(sections, "SECTION_REPEATED", "sections[1]");
}

TEST(GradientBytesTest, OtherKindsAreRefusedWhereverTheyStand) {
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

TEST(GradientBytesTest, OtherDtypesAreRefused) {
  Sections sections = Gradient();
  sections[0].set_dtype(static_cast<v1::Dtype>(2));
  ExpectGradientRefused(sections, "SECTION_UNEXPECTED", "sections[0].dtype");
}

TEST(GradientBytesTest, AnOffsetIsRefused) {
  Sections sections = Gradient();
  sections[0].set_begin_element(1);
  ExpectGradientRefused(sections, "SECTION_UNEXPECTED", "sections[0].begin_element");
}

TEST(GradientBytesTest, SizesThatAreNotTheLayoutsAreRefused) {
  constexpr size_t kBytes = kElements * sizeof(float);
  // Nothing, one element and one byte too few, one byte and one element too many.
  for (const size_t bytes : {size_t{0}, kBytes - 4, kBytes - 1, kBytes + 1, kBytes + 4}) {
    ExpectGradientRefused(One(Whole(v1::SECTION_KIND_GRADIENT, bytes)), "SECTION_SIZE_MISMATCH",
                          "sections[0].data");
  }
}

TEST(GradientBytesTest, SizeMismatchTellsGotAndExpected) {
  const absl::Status status =
      GradientBytes(One(Whole(v1::SECTION_KIND_GRADIENT, 16)), kElements).status();
  EXPECT_THAT(status.message(), HasSubstr("16 bytes"));
  EXPECT_THAT(status.message(), HasSubstr("expected 20"));
}

TEST(GradientBytesTest, SizeOfAHugeLayoutDoesNotWrapAround) {
  // 2^62 elements are 2^64 bytes: what wraps to 0 must not fit an empty section.
  ExpectRefused(GradientBytes(One(Whole(v1::SECTION_KIND_GRADIENT, 0)), uint64_t{1} << 62).status(),
                "SECTION_SIZE_MISMATCH", "sections[0].data");
}

TEST(ParameterBytesTest, TakesAWholeVectorOfParametersOnly) {
  const v1::Section section = Whole(v1::SECTION_KIND_PARAMETERS);
  const auto bytes = ParameterBytes(section, kElements);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(bytes->data(), section.data().data());
  ExpectRefused(ParameterBytes(Whole(v1::SECTION_KIND_GRADIENT), kElements).status(),
                "SECTION_UNEXPECTED", "kind");
  ExpectRefused(ParameterBytes(section, kElements + 1).status(), "SECTION_SIZE_MISMATCH", "data");
  v1::Section moved = section;
  moved.set_begin_element(3);
  ExpectRefused(ParameterBytes(moved, kElements).status(), "SECTION_UNEXPECTED", "begin_element");
}

TEST(FillSectionTest, CopiesTheRunThatIsAskedFor) {
  const std::vector<float> values = {0, 1.5f, -2, 3, 4};
  v1::Section section;
  section.set_data("what was there before");
  FillSection(v1::SECTION_KIND_PARAMETERS, values, 1, 3, section);
  EXPECT_EQ(section.kind(), v1::SECTION_KIND_PARAMETERS);
  EXPECT_EQ(section.dtype(), v1::DTYPE_FLOAT32);
  EXPECT_EQ(section.begin_element(), 1u);
  std::vector<float> copied(3);
  ASSERT_EQ(section.data().size(), copied.size() * sizeof(float));
  std::memcpy(copied.data(), section.data().data(), section.data().size());
  EXPECT_THAT(copied, ElementsAre(1.5f, -2, 3));
  // 1.5 is 0x3fc00000: little-endian on the wire.
  EXPECT_EQ(section.data().substr(0, 4), std::string("\0\0\xc0\x3f", 4));
}

TEST(FillSectionTest, TheEndOfTheVectorMayBeEmpty) {
  const std::vector<float> values = {1, 2};
  v1::Section section;
  FillSection(v1::SECTION_KIND_PARAMETERS, values, 2, 0, section);
  EXPECT_EQ(section.begin_element(), 2u);
  EXPECT_TRUE(section.data().empty());
}

}  // namespace
}  // namespace talweg::server
