// SPDX-License-Identifier: Apache-2.0
#include "server/wire/pull_from_proto.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

constexpr uint64_t kMessageElements = (uint64_t{1} << 20) / sizeof(float);
constexpr uint64_t kHistory = 7;

PointOutcome PointOf(uint64_t num_elements) {
  auto parameters = std::make_shared<core::Parameters>(num_elements);
  parameters->version = 3;
  for (size_t i = 0; i < num_elements; ++i) parameters->values.data()[i] = static_cast<float>(i);
  return {std::move(parameters), true, 0.25};
}

void ExpectRefused(const std::function<void(v1::PullRequest&)>& bend, const std::string& field) {
  v1::PullRequest request;
  bend(request);
  const absl::Status status = PullFromProto(request, 10).status();
  EXPECT_EQ(core::ReasonName(status), "FIELD_OUT_OF_RANGE") << status;
  EXPECT_EQ(core::FieldName(status), field) << status;
}

TEST(PullFromProtoTest, AnEmptyRequestAsksForAllParameters) {
  const auto spec = PullFromProto({}, 10);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->wanted.point, core::Session::Point::kParameters);
  EXPECT_EQ(spec->wanted.kind, v1::SECTION_KIND_PARAMETERS);
  EXPECT_EQ(spec->dtype, core::Dtype::kFloat32);
  EXPECT_FALSE(spec->checksums);
  EXPECT_EQ(spec->begin_element, 0u);
  EXPECT_EQ(spec->min_version, 0u);
  EXPECT_FALSE(spec->version.has_value());
}

TEST(PullFromProtoTest, EveryFieldIsRead) {
  v1::PullRequest request;
  request.set_point(v1::POINT_AVERAGE);
  request.set_dtype(v1::DTYPE_BFLOAT16);
  request.set_checksums(true);
  request.set_begin_element(10);
  request.set_min_version(5);
  auto spec = PullFromProto(request, 10);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->wanted.kind, v1::SECTION_KIND_AVERAGE);
  EXPECT_EQ(spec->dtype, core::Dtype::kBfloat16);
  EXPECT_TRUE(spec->checksums);
  EXPECT_EQ(spec->begin_element, 10u);
  EXPECT_EQ(spec->min_version, 5u);
  request.clear_min_version();
  request.set_version(0);
  spec = PullFromProto(request, 10);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->version, 0u);
}

TEST(PullFromProtoTest, WhatCannotBeIsRefusedByName) {
  using Proto = v1::PullRequest;
  ExpectRefused([](Proto& r) { r.set_begin_element(11); }, "begin_element");
  ExpectRefused([](Proto& r) { r.set_point(static_cast<v1::Point>(77)); }, "point");
  ExpectRefused([](Proto& r) { r.set_dtype(static_cast<v1::Dtype>(77)); }, "dtype");
  const auto both = [](Proto& r) {
    r.set_version(3);
    r.set_min_version(3);
  };
  ExpectRefused(both, "min_version");
}

TEST(PullMessagesTest, AVectorComesInMessagesOfAMebibyte) {
  const PointOutcome point = PointOf(2 * kMessageElements + 5);
  PullSpec spec;
  spec.checksums = true;
  PullMessages messages(point, kHistory, spec);
  EXPECT_EQ(messages.version(), 3u);
  v1::PullResponse message;  // used again for each
  std::string data;
  for (const uint64_t elements : {kMessageElements, kMessageElements, uint64_t{5}}) {
    EXPECT_EQ(messages.MakeNext(message), elements == 5);
    EXPECT_EQ(message.history(), kHistory);
    EXPECT_EQ(message.version(), 3u);
    EXPECT_EQ(message.num_elements(), 2 * kMessageElements + 5);
    EXPECT_EQ(message.next_learning_rate(), 0.25);
    EXPECT_EQ(message.section().kind(), v1::SECTION_KIND_PARAMETERS);
    EXPECT_EQ(message.section().begin_element() * sizeof(float), data.size());
    EXPECT_EQ(message.section().data().size(), elements * sizeof(float));
    EXPECT_EQ(message.crc32c(), core::Crc32c(message.section().data()));
    data += message.section().data();
  }
  EXPECT_EQ(data,
            std::string(reinterpret_cast<const char*>(point.values->values.data()), data.size()));
}

TEST(PullMessagesTest, APullFromTheEndHasOneEmptyMessage) {
  PullSpec spec;
  spec.begin_element = 10;
  PullMessages messages(PointOf(10), kHistory, spec);
  v1::PullResponse message;
  EXPECT_TRUE(messages.MakeNext(message));
  EXPECT_EQ(message.num_elements(), 10u);
  EXPECT_EQ(message.section().begin_element(), 10u);
  EXPECT_TRUE(message.section().data().empty());
  EXPECT_FALSE(message.has_crc32c());
}

TEST(PullMessagesTest, EachMessageTellsWhatItsOwnNumbersOverflow) {
  const uint64_t count = 2 * kMessageElements;  // in 16 bits
  const auto values = std::make_shared<core::Parameters>(2 * count);
  values->values.data()[5] = 70000;
  values->values.data()[count - 1] = 70000;
  PullSpec spec;
  spec.dtype = core::Dtype::kFloat16;
  PullMessages messages({values, true, 0}, kHistory, spec);
  v1::PullResponse message;  // used again for each
  EXPECT_FALSE(messages.MakeNext(message));
  EXPECT_EQ(message.num_overflowed(), 2u);
  EXPECT_EQ(message.first_overflowed(), 5u);
  EXPECT_TRUE(messages.MakeNext(message));
  EXPECT_EQ(message.num_overflowed(), 0u);
  EXPECT_FALSE(message.has_first_overflowed());
}

}  // namespace
}  // namespace talweg::server
