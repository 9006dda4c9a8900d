// SPDX-License-Identifier: Apache-2.0
#include "server/wire/outgoing_vector.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace talweg::server {
namespace {

constexpr uint64_t kElements = core::kBlock + 5;  // more than one block

std::shared_ptr<const core::Parameters> Values(float first) {
  auto parameters = std::make_shared<core::Parameters>(kElements);
  for (size_t index = 0; index < kElements; ++index) {
    parameters->values.data()[index] = first + static_cast<float>(index);
  }
  parameters->version = 3;
  return parameters;
}

StepOutcome Outcome() {
  StepOutcome outcome;
  outcome.parameters = Values(100);
  return outcome;
}

std::vector<float> Written(const OutgoingVector& vector, uint64_t begin, uint64_t count,
                           v1::SectionKind kind) {
  v1::Section section;
  vector.Open(begin, count, section);
  EXPECT_EQ(section.kind(), kind);
  EXPECT_EQ(section.begin_element(), begin);
  EXPECT_EQ(section.data().size(), count * sizeof(float));
  vector.Write(begin, count, section.mutable_data()->data());
  const auto* numbers = reinterpret_cast<const float*>(section.data().data());
  return {numbers, numbers + count};
}

TEST(OutgoingVectorTest, ParametersGoOutAsTheyAre) {
  const OutgoingVector vector(Outcome(), ReplySpec());
  EXPECT_FALSE(vector.empty());
  EXPECT_EQ(vector.num_elements(), kElements);
  EXPECT_EQ(vector.version(), 3u);
  EXPECT_EQ(Written(vector, 7, 2, v1::SECTION_KIND_PARAMETERS), (std::vector<float>{107, 108}));
}

TEST(OutgoingVectorTest, AnUpdateIsADifferenceOfVersions) {
  ReplySpec reply;
  reply.data = ReplySpec::Data::kUpdate;
  StepOutcome outcome = Outcome();
  // A contribution that took no step gets the parameters.
  EXPECT_EQ(Written(OutgoingVector(outcome, reply), 0, 1, v1::SECTION_KIND_PARAMETERS),
            (std::vector<float>{100}));
  outcome.previous = Values(98);
  const OutgoingVector vector(outcome, reply);
  EXPECT_EQ(Written(vector, 0, kElements, v1::SECTION_KIND_UPDATE),
            std::vector<float>(kElements, 2));
}

TEST(OutgoingVectorTest, ALookaheadGoesOutIfThereIsOne) {
  ReplySpec reply;
  reply.data = ReplySpec::Data::kLookahead;
  StepOutcome outcome = Outcome();
  EXPECT_EQ(Written(OutgoingVector(outcome, reply), 0, 1, v1::SECTION_KIND_PARAMETERS),
            (std::vector<float>{100}));
  outcome.lookahead = Values(50);
  EXPECT_EQ(Written(OutgoingVector(outcome, reply), 0, 1, v1::SECTION_KIND_LOOKAHEAD),
            (std::vector<float>{50}));
}

TEST(OutgoingVectorTest, NothingGoesOutUnlessItWasAskedFor) {
  ReplySpec reply;
  reply.data = ReplySpec::Data::kNone;
  EXPECT_TRUE(OutgoingVector(Outcome(), reply).empty());
}

TEST(OutgoingVectorTest, HalvesTakeTwoBytesAnElement) {
  ReplySpec reply;
  reply.dtype = core::Dtype::kBfloat16;
  const OutgoingVector vector(Outcome(), reply);
  EXPECT_EQ(vector.element_bytes(), 2u);
  v1::Section section;
  vector.Open(0, 3, section);
  EXPECT_EQ(section.dtype(), v1::DTYPE_BFLOAT16);
  EXPECT_EQ(section.data().size(), 6u);
}

TEST(OutgoingVectorTest, APointNamesItselfUnlessItIsTheParameters) {
  const PointOutcome average = {Values(1), false, 0};
  EXPECT_EQ(Written({average, v1::SECTION_KIND_AVERAGE, core::Dtype::kFloat32}, 0, 1,
                    v1::SECTION_KIND_AVERAGE),
            (std::vector<float>{1}));
  const PointOutcome parameters = {Values(1), true, 0};
  Written({parameters, v1::SECTION_KIND_AVERAGE, core::Dtype::kFloat32}, 0, 1,
          v1::SECTION_KIND_PARAMETERS);
}

// In parameters and in updates, which are written block by block.
TEST(OutgoingVectorTest, TellsWhatTheDtypeDoesNotReach) {
  constexpr size_t kMany = 3 * core::kBlock;
  const auto big = std::make_shared<core::Parameters>(kMany);
  big->values.data()[core::kBlock + 7] = 70000;
  big->values.data()[2 * core::kBlock + 1] = -70000;
  StepOutcome outcome = Outcome();
  outcome.parameters = big;
  ReplySpec reply;
  reply.dtype = core::Dtype::kFloat16;
  reply.data = ReplySpec::Data::kUpdate;
  for (const bool is_update : {false, true}) {
    if (is_update) outcome.previous = std::make_shared<core::Parameters>(kMany);
    const OutgoingVector vector(outcome, reply);
    std::string bytes(2 * kMany, 'x');
    const core::Overflow all = vector.Write(0, kMany, bytes.data());
    EXPECT_EQ(all.count, 2u);
    EXPECT_EQ(all.first, core::kBlock + 7);
    EXPECT_EQ(vector.Write(2 * core::kBlock, 2, bytes.data()).first, 2 * core::kBlock + 1);
    EXPECT_EQ(vector.Write(0, core::kBlock, bytes.data()).count, 0u);
  }
}

}  // namespace
}  // namespace talweg::server
