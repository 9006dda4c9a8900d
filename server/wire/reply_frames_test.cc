// SPDX-License-Identifier: Apache-2.0
#include "server/wire/reply_frames.h"

#include <memory>

#include "core/base/checksum.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

constexpr uint64_t kChunkElements = (uint64_t{1} << 20) / sizeof(float);
constexpr uint64_t kHistory = 7;

StepOutcome OutcomeOf(uint64_t num_elements) {
  auto parameters = std::make_shared<core::Parameters>(num_elements);
  parameters->version = 3;
  for (size_t i = 0; i < num_elements; ++i) parameters->values.data()[i] = static_cast<float>(i);
  StepOutcome outcome;
  outcome.answer.applied_version = 3;
  outcome.parameters = std::move(parameters);
  return outcome;
}

TEST(ReplyFramesTest, AGrantSaysHowManyElementsMayCome) {
  v1::StreamStepResponse frame;
  GrantToProto(5, frame);
  ASSERT_TRUE(frame.has_grant());
  EXPECT_EQ(frame.grant().num_elements(), 5u);
}

TEST(ReplyFramesTest, DataComeInChunksAndTheTrailerLast) {
  ReplySpec reply;
  reply.checksums = true;
  const StepOutcome outcome = OutcomeOf(2 * kChunkElements + 5);
  ReplyFrames frames(outcome, kHistory, reply);
  v1::StreamStepResponse frame;  // used again for each
  std::string data;
  for (const uint64_t elements : {kChunkElements, kChunkElements, uint64_t{5}}) {
    ASSERT_FALSE(frames.MakeNext(frame));
    const v1::Section& section = frame.chunk().section();
    EXPECT_EQ(section.begin_element() * sizeof(float), data.size());
    EXPECT_EQ(section.data().size(), elements * sizeof(float));
    EXPECT_EQ(frame.chunk().crc32c(), core::Crc32c(section.data()));
    data += section.data();
  }
  ASSERT_TRUE(frames.MakeNext(frame));
  EXPECT_EQ(frame.trailer().response().history(), kHistory);
  EXPECT_EQ(frame.trailer().response().data_version(), 3u);
  EXPECT_EQ(frame.trailer().data_crc32c(), core::Crc32c(data));
  EXPECT_EQ(
      data.compare(0, data.size(), reinterpret_cast<const char*>(outcome.parameters->values.data()),
                   data.size()),
      0);
  // The version is let go with the last frame.
  EXPECT_EQ(outcome.parameters.use_count(), 1);
}

TEST(ReplyFramesTest, ReplyWithoutDataIsATrailer) {
  ReplySpec reply;
  reply.data = ReplySpec::Data::kNone;
  reply.checksums = true;
  const StepOutcome outcome = OutcomeOf(5);
  ReplyFrames frames(outcome, kHistory, reply);
  EXPECT_EQ(outcome.parameters.use_count(), 1);
  v1::StreamStepResponse frame;
  ASSERT_TRUE(frames.MakeNext(frame));
  EXPECT_EQ(frame.trailer().response().applied_version(), 3u);
  EXPECT_FALSE(frame.trailer().has_data_crc32c());
}

TEST(ReplyFramesTest, TheTrailerTellsWhatAllItsDataOverflow) {
  const auto values = std::make_shared<core::Parameters>(4 * kChunkElements);  // two chunks
  values->values.data()[3 * kChunkElements] = 70000;
  values->values.data()[9] = 70000;
  StepOutcome outcome = OutcomeOf(1);
  outcome.parameters = values;
  ReplySpec reply;
  reply.dtype = core::Dtype::kFloat16;
  ReplyFrames frames(outcome, kHistory, reply);
  v1::StreamStepResponse frame;
  while (!frames.MakeNext(frame)) {
  }
  EXPECT_EQ(frame.trailer().response().num_overflowed(), 2u);
  EXPECT_EQ(frame.trailer().response().first_overflowed(), 9u);
}

}  // namespace
}  // namespace talweg::server
