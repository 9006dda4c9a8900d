// SPDX-License-Identifier: Apache-2.0
#include "server/wire/source_from_proto.h"

#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "core/base/reasons.h"
#include "gtest/gtest.h"
#include "server/wire/config_from_proto.h"

namespace talweg::server {
namespace {

constexpr uint64_t kElements = core::kBlock + 3;  // more than one block

core::SessionConfig Config() {
  v1::SessionConfig config;
  v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
  tensor.set_name("w");
  tensor.add_shape(kElements);
  config.mutable_optimizer()->mutable_gradient_descent();
  config.mutable_schedule()->set_learning_rate(0.5);
  return ConfigFromProto(config).value();
}

v1::InitialValues Uploaded(const std::vector<float>& values) {
  v1::InitialValues proto;
  v1::Section& section = *proto.mutable_uploaded();
  section.set_kind(v1::SECTION_KIND_PARAMETERS);
  section.set_data(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return proto;
}

void ExpectRefused(const v1::InitialValues& values, const std::string& reason,
                   const std::string& field) {
  const absl::Status status = SourceFromProto(values, *Config().layout).status();
  EXPECT_EQ(core::ReasonName(status), reason) << status;
  EXPECT_EQ(core::FieldName(status), field) << status;
}

TEST(SourceFromProtoTest, UploadedNumbersAreBorrowed) {
  const v1::InitialValues values = Uploaded(std::vector<float>(kElements, 2));
  const absl::StatusOr<InitialSource> source = SourceFromProto(values, *Config().layout);
  ASSERT_TRUE(source.ok()) << source.status();
  const auto& vector = std::get<core::EncodedVector>(*source);
  EXPECT_EQ(vector.bytes.data(), values.uploaded().data().data());
  EXPECT_EQ(vector.bytes.size(), kElements * sizeof(float));
}

TEST(SourceFromProtoTest, NumbersThatAreNotFiniteAreRefusedWhereverTheyStand) {
  for (const uint64_t index : {uint64_t{0}, uint64_t{core::kBlock}, kElements - 1}) {
    std::vector<float> values(kElements, 1);
    values[index] = std::numeric_limits<float>::infinity();
    ExpectRefused(Uploaded(values), "INITIAL_VALUES_INVALID", "initial_values.uploaded.data");
    v1::InitialValues listed = Uploaded({});
    listed.mutable_uploaded()->clear_data();
    *listed.mutable_uploaded()->mutable_values() = {values.begin(), values.end()};
    ExpectRefused(listed, "INITIAL_VALUES_INVALID", "initial_values.uploaded.values");
  }
}

TEST(SourceFromProtoTest, UploadOfAnotherSizeIsRefused) {
  ExpectRefused(Uploaded(std::vector<float>(kElements - 1)), "SECTION_SIZE_MISMATCH",
                "initial_values.uploaded.data");
}

TEST(SourceFromProtoTest, SeededValuesAreAPlan) {
  v1::InitialValues values;
  v1::InitialValueRule& rule = *values.mutable_seeded()->add_rules();
  rule.set_tensors("*");
  rule.mutable_constant()->set_value(1);
  const absl::StatusOr<InitialSource> source = SourceFromProto(values, *Config().layout);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_TRUE(std::holds_alternative<core::InitialValues>(*source));
  *values.mutable_seeded()->add_rules() = rule;  // nothing is left for it
  ExpectRefused(values, "INITIAL_VALUES_INVALID", "initial_values.seeded.rules[1].tensors");
}

TEST(SourceFromProtoTest, ASourceIsRequired) {
  ExpectRefused({}, "FIELD_REQUIRED", "initial_values");
}

}  // namespace
}  // namespace talweg::server
