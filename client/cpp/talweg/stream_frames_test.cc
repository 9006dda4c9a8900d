// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/stream_frames.h"

#include <gtest/gtest.h>

#include <string>

#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace talweg {
namespace {

using google::protobuf::io::ArrayInputStream;

TEST(StreamFramesTest, ChunksAreTheBytesThatGeneratedCodeMakes) {
  for (const uint64_t begin : {uint64_t{0}, uint64_t{262144}, uint64_t{1} << 39}) {
    for (const size_t num_bytes : {size_t{4}, size_t{200}, size_t{1} << 20}) {
      for (const bool checksum : {false, true}) {
        const auto kind = checksum ? v1::SECTION_KIND_DIFFERENCE : v1::SECTION_KIND_GRADIENT;
        const std::string data(num_bytes, 'x');
        v1::StreamStepRequest expected;
        v1::Chunk& chunk = *expected.mutable_chunk();
        chunk.mutable_section()->set_kind(kind);
        chunk.mutable_section()->set_dtype(v1::DTYPE_BFLOAT16);
        chunk.mutable_section()->set_begin_element(begin);
        chunk.mutable_section()->set_data(data);
        if (checksum) chunk.set_crc32c(0xdeadbeef);
        const std::string bytes =
            BytesBeforeData({v1::DTYPE_BFLOAT16, begin, num_bytes, checksum, kind}) + data +
            (checksum ? BytesAfterData(0xdeadbeef) : "");
        EXPECT_EQ(bytes, expected.SerializeAsString());
      }
    }
  }
}

// In pieces of `block` bytes.
bool Read(const std::string& bytes, int block, v1::StreamStepResponse& frame, DataPosition& data) {
  ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()), block);
  return ReadFrame(stream, frame, data);
}

TEST(StreamFramesTest, FramesAreReadAsGeneratedCodeWritesThem) {
  const std::string numbers = "eight bytes of it";
  v1::StreamStepResponse chunk;
  v1::Section& section = *chunk.mutable_chunk()->mutable_section();
  section.set_kind(v1::SECTION_KIND_LOOKAHEAD);
  section.set_dtype(v1::DTYPE_FLOAT16);
  section.set_begin_element(uint64_t{1} << 35);
  section.set_data(numbers);
  chunk.mutable_chunk()->set_crc32c(77);
  v1::StreamStepResponse grant;
  grant.mutable_grant()->set_num_elements(uint64_t{1} << 33);
  v1::StreamStepResponse trailer;
  trailer.mutable_trailer()->mutable_response()->set_applied_version(300);
  trailer.mutable_trailer()->set_data_crc32c(5);

  v1::StreamStepResponse without_data = chunk;
  without_data.mutable_chunk()->mutable_section()->clear_data();
  for (const int block : {1, 3, 1000}) {
    v1::StreamStepResponse frame;
    DataPosition data;
    const std::string bytes = chunk.SerializeAsString();
    ASSERT_TRUE(Read(bytes, block, frame, data));
    EXPECT_EQ(frame.SerializeAsString(), without_data.SerializeAsString());
    EXPECT_EQ(bytes.substr(data.offset, data.size), numbers);
    ASSERT_TRUE(Read(grant.SerializeAsString(), block, frame, data));
    EXPECT_EQ(frame.SerializeAsString(), grant.SerializeAsString());
    EXPECT_EQ(data.size, 0u);
    ASSERT_TRUE(Read(trailer.SerializeAsString(), block, frame, data));
    EXPECT_EQ(frame.SerializeAsString(), trailer.SerializeAsString());
  }
}

TEST(StreamFramesTest, FieldsOfALaterServerArePassedOver) {
  // A chunk { section { data: "ab", field 15: 1 }, field 14: "z" }.
  const std::string bytes(
      "\x12\x0b\x0a\x06\x22\x02"
      "ab"
      "\x78\x01\x72\x01z",
      13);
  v1::StreamStepResponse frame;
  DataPosition data;
  ASSERT_TRUE(Read(bytes, 1000, frame, data));
  EXPECT_EQ(bytes.substr(data.offset, data.size), "ab");
  ASSERT_TRUE(Read("", 1000, frame, data));
  EXPECT_EQ(frame.frame_case(), v1::StreamStepResponse::FRAME_NOT_SET);
}

TEST(StreamFramesTest, CutFramesAreNone) {
  v1::StreamStepResponse chunk;
  chunk.mutable_chunk()->mutable_section()->set_data(std::string(300, 'x'));
  chunk.mutable_chunk()->set_crc32c(77);
  const std::string bytes = chunk.SerializeAsString();
  for (size_t size = 1; size < bytes.size(); ++size) {
    v1::StreamStepResponse frame;
    DataPosition data;
    EXPECT_FALSE(Read(bytes.substr(0, size), 1000, frame, data)) << size;
  }
}

}  // namespace
}  // namespace talweg
