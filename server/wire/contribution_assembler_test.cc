// SPDX-License-Identifier: Apache-2.0
#include "server/wire/contribution_assembler.h"

#include <string>

#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/wire/chunk_from_proto.h"

namespace talweg::server {
namespace {

using ::testing::Contains;
using ::testing::Pair;
using Frame = v1::StreamStepRequest;

constexpr uint64_t kMin = kMinChunkBytes / sizeof(float);
constexpr uint64_t kMax = kMaxChunkBytes / sizeof(float);
constexpr uint64_t kElements = 3 * kMin + 5;

v1::Chunk ChunkOf(uint64_t begin, uint64_t num_elements) {
  v1::Chunk chunk;
  v1::Section& section = *chunk.mutable_section();
  section.set_kind(v1::SECTION_KIND_GRADIENT);
  section.set_begin_element(begin);
  section.mutable_data()->assign(num_elements * sizeof(float), 'x');
  return chunk;
}

class ContributionAssemblerTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(assembler_.Open(kElements).ok()); }

  void ExpectRefused(const absl::Status& status, const std::string& reason,
                     const std::string& field) {
    EXPECT_EQ(core::ReasonName(status), reason) << status;
    EXPECT_EQ(core::FieldName(status), field) << status;
  }
  void ExpectRefused(const v1::Chunk& chunk, const std::string& reason, const std::string& field) {
    const uint64_t before = assembler_.next_element();
    ExpectRefused(assembler_.Add(chunk).status(), reason, field);
    EXPECT_EQ(assembler_.next_element(), before);
  }

  ContributionAssembler assembler_;
};

TEST_F(ContributionAssemblerTest, ContributionsFollowEachOther) {
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(assembler_.open());
    const v1::Chunk first = ChunkOf(0, kMin);
    const absl::StatusOr<ContributionAssembler::Numbers> added = assembler_.Add(first);
    ASSERT_TRUE(added.ok()) << added.status();
    EXPECT_FALSE(added->are_statistics);
    const core::EncodedVector* numbers = &added->numbers;
    EXPECT_EQ(numbers->bytes.data(), first.section().data().data());
    EXPECT_EQ(numbers->bytes.size(), kMin * sizeof(float));
    ASSERT_TRUE(assembler_.Add(ChunkOf(kMin, 2 * kMin)).ok());
    ASSERT_TRUE(assembler_.Add(ChunkOf(3 * kMin, 5)).ok());
    ASSERT_TRUE(assembler_.Commit().ok());
    EXPECT_FALSE(assembler_.open());
    ASSERT_TRUE(assembler_.Open(kElements).ok());
  }
}

TEST_F(ContributionAssemblerTest, FramesComeInTheirOrder) {
  ExpectRefused(assembler_.Open(kElements), "FRAME_UNEXPECTED", "header");
  ExpectRefused(assembler_.CheckOrder(Frame::kHeader), "FRAME_UNEXPECTED", "header");
  EXPECT_TRUE(assembler_.CheckOrder(Frame::kChunk).ok());
  EXPECT_TRUE(assembler_.CheckOrder(Frame::kCommit).ok());
  ExpectRefused(assembler_.CheckOrder(Frame::FRAME_NOT_SET), "FRAME_UNEXPECTED", "frame");
  ContributionAssembler fresh;
  ExpectRefused(fresh.Add(ChunkOf(0, kMin)).status(), "FRAME_UNEXPECTED", "chunk");
  ExpectRefused(fresh.Commit(), "FRAME_UNEXPECTED", "commit");
  EXPECT_TRUE(fresh.CheckOrder(Frame::kHeader).ok());
  ExpectRefused(fresh.CheckOrder(Frame::FRAME_NOT_SET), "FRAME_UNEXPECTED", "frame");
}

TEST_F(ContributionAssemblerTest, ChunkThatIsNotTheNextIsMisplaced) {
  const std::string begin = "chunk.section.begin_element";
  ExpectRefused(ChunkOf(1, kMin), "CHUNK_MISPLACED", begin);
  ExpectRefused(ChunkOf(uint64_t{1} << 63, kMin), "CHUNK_MISPLACED", begin);
  ASSERT_TRUE(assembler_.Add(ChunkOf(0, kMin)).ok());
  ExpectRefused(ChunkOf(0, kMin), "CHUNK_MISPLACED", begin);             // again
  ExpectRefused(ChunkOf(kMin - 1, kMin), "CHUNK_MISPLACED", begin);      // an overlap
  ExpectRefused(ChunkOf(kMin + 1, kMin), "CHUNK_MISPLACED", begin);      // a gap
  ExpectRefused(ChunkOf(2 * kMin, kMin), "CHUNK_MISPLACED", begin);      // out of order
  ExpectRefused(ChunkOf(~uint64_t{0}, kMin), "CHUNK_MISPLACED", begin);  // a sum would wrap around
  ExpectRefused(ChunkOf(kMin, 2 * kMin + 6), "CHUNK_MISPLACED", "chunk.section.data");
  const absl::Status early = assembler_.Commit();
  ExpectRefused(early, "CHUNK_MISPLACED", "commit");
  EXPECT_THAT(core::MetadataOf(early), Contains(Pair("expected_element", std::to_string(kMin))));
  ASSERT_TRUE(assembler_.Add(ChunkOf(kMin, 2 * kMin + 5)).ok());
  ExpectRefused(ChunkOf(kElements, 1), "CHUNK_MISPLACED", "chunk.section.data");
  EXPECT_TRUE(assembler_.Commit().ok());
}

TEST_F(ContributionAssemblerTest, ChunkHasASizeInItsRange) {
  const std::string data = "chunk.section.data";
  ExpectRefused(ChunkOf(0, kMin - 1), "FIELD_OUT_OF_RANGE", data);
  ExpectRefused(ChunkOf(0, 0), "FIELD_OUT_OF_RANGE", data);
  ASSERT_TRUE(assembler_.Add(ChunkOf(0, kElements)).ok());
  ExpectRefused(ChunkOf(kElements, 0), "FIELD_OUT_OF_RANGE", data);
  ContributionAssembler large;
  ASSERT_TRUE(large.Open(kMax + 1).ok());
  EXPECT_EQ(core::ReasonName(large.Add(ChunkOf(0, kMax + 1)).status()), "FIELD_OUT_OF_RANGE");
  ASSERT_TRUE(large.Add(ChunkOf(0, kMax)).ok());
  ASSERT_TRUE(large.Add(ChunkOf(kMax, 1)).ok());
  EXPECT_TRUE(large.Commit().ok());
}

TEST_F(ContributionAssemblerTest, SectionIsAGradientInADtypeOfOurs) {
  ExpectRefused(v1::Chunk(), "FIELD_REQUIRED", "chunk.section");
  v1::Chunk chunk = ChunkOf(0, kMin);
  chunk.mutable_section()->set_kind(v1::SECTION_KIND_PARAMETERS);
  ExpectRefused(chunk, "SECTION_UNEXPECTED", "chunk.section.kind");
  chunk = ChunkOf(0, kMin);
  chunk.mutable_section()->set_dtype(static_cast<v1::Dtype>(9));
  ExpectRefused(chunk, "SECTION_UNEXPECTED", "chunk.section.dtype");
  chunk = ChunkOf(0, kMin);
  chunk.mutable_section()->mutable_data()->pop_back();
  ExpectRefused(chunk, "SECTION_SIZE_MISMATCH", "chunk.section.data");
  chunk.mutable_section()->add_values(1);
  ExpectRefused(chunk, "SECTION_UNEXPECTED", "chunk.section.values");
}

TEST_F(ContributionAssemblerTest, ChunksAreAllOfAGradientOrAllOfADifference) {
  v1::Chunk difference = ChunkOf(0, kMin);
  difference.mutable_section()->set_kind(v1::SECTION_KIND_DIFFERENCE);
  ASSERT_TRUE(assembler_.Add(difference).ok());
  EXPECT_TRUE(assembler_.is_difference());
  ExpectRefused(ChunkOf(kMin, kMin), "SECTION_UNEXPECTED", "chunk.section.kind");
  for (const uint64_t begin : {kMin, 2 * kMin}) {
    difference.mutable_section()->set_begin_element(begin);
    ASSERT_TRUE(assembler_.Add(difference).ok());
  }
  v1::Chunk last = ChunkOf(3 * kMin, 5);
  last.mutable_section()->set_kind(v1::SECTION_KIND_DIFFERENCE);
  ASSERT_TRUE(assembler_.Add(last).ok());
  ASSERT_TRUE(assembler_.Commit().ok());
  EXPECT_TRUE(assembler_.is_difference());
  // Each contribution says it anew.
  ASSERT_TRUE(assembler_.Open(kElements).ok());
  ASSERT_TRUE(assembler_.Add(ChunkOf(0, kMin)).ok());
  EXPECT_FALSE(assembler_.is_difference());
  difference.mutable_section()->set_begin_element(kMin);
  ExpectRefused(difference, "SECTION_UNEXPECTED", "chunk.section.kind");
}

TEST_F(ContributionAssemblerTest, DtypeMayChangeAndValuesMayBeListed) {
  v1::Chunk half = ChunkOf(0, kMin);  // as many bytes, twice the elements
  half.mutable_section()->set_dtype(v1::DTYPE_BFLOAT16);
  ASSERT_TRUE(assembler_.Add(half).ok());
  EXPECT_EQ(assembler_.next_element(), 2 * kMin);
  v1::Chunk list = ChunkOf(2 * kMin, 0);
  for (uint64_t index = 0; index < kMin + 5; ++index) list.mutable_section()->add_values(1.5f);
  const float* listed = list.section().values().data();
  list.set_crc32c(core::Crc32c({listed, kMin + 5}));
  ASSERT_TRUE(assembler_.Add(list).ok());
  EXPECT_TRUE(assembler_.Commit().ok());
}

TEST_F(ContributionAssemblerTest, BytesThatAreNotWhatWasSentAreCorrupt) {
  v1::Chunk chunk = ChunkOf(0, kMin);
  chunk.set_crc32c(core::Crc32c(chunk.section().data()));
  for (const size_t place : {size_t{0}, size_t{kMin * 2 + 1}, size_t{kMin * 4 - 1}}) {
    v1::Chunk bent = chunk;
    (*bent.mutable_section()->mutable_data())[place] ^= 1;
    ExpectRefused(bent, "CHUNK_CORRUPT", "chunk.crc32c");
    EXPECT_EQ(assembler_.Add(bent).status().code(), absl::StatusCode::kDataLoss);
  }
  v1::Chunk wrong = chunk;
  wrong.set_crc32c(0);
  ExpectRefused(wrong, "CHUNK_CORRUPT", "chunk.crc32c");
  EXPECT_TRUE(assembler_.Add(chunk).ok());
}

v1::Chunk StatisticsChunk(uint64_t begin, uint64_t count) {
  v1::Chunk chunk = ChunkOf(begin, count);
  chunk.mutable_section()->set_kind(v1::SECTION_KIND_STATISTICS);
  return chunk;
}

TEST(ContributionAssemblerStatisticsTest, FollowTheGradientFromTheirOwnElementZeroOn) {
  ContributionAssembler assembler;
  ASSERT_TRUE(assembler.Open(kMin, kMin + 7).ok());
  EXPECT_EQ(core::ReasonName(assembler.Add(StatisticsChunk(0, kMin)).status()),
            "SECTION_UNEXPECTED");
  ASSERT_TRUE(assembler.Add(ChunkOf(0, kMin)).ok());
  EXPECT_EQ(core::ReasonName(assembler.Commit()), "CHUNK_MISPLACED");
  EXPECT_EQ(core::ReasonName(assembler.Add(ChunkOf(kMin, 7)).status()), "SECTION_UNEXPECTED");
  const auto added = assembler.Add(StatisticsChunk(0, kMin));
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_TRUE(added->are_statistics);
  EXPECT_EQ(core::ReasonName(assembler.Commit()), "CHUNK_MISPLACED");
  EXPECT_EQ(core::ReasonName(assembler.Add(StatisticsChunk(0, 7)).status()), "CHUNK_MISPLACED");
  ASSERT_TRUE(assembler.Add(StatisticsChunk(kMin, 7)).ok());
  EXPECT_EQ(core::ReasonName(assembler.Add(StatisticsChunk(kMin + 7, 1)).status()),
            "CHUNK_MISPLACED");
  EXPECT_TRUE(assembler.Commit().ok());
  // Alone.
  ASSERT_TRUE(assembler.Open(0, 5).ok());
  ASSERT_TRUE(assembler.Add(StatisticsChunk(0, 5)).ok());
  EXPECT_TRUE(assembler.Commit().ok());
}

}  // namespace
}  // namespace talweg::server
