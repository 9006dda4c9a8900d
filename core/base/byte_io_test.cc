// SPDX-License-Identifier: Apache-2.0
#include "core/base/byte_io.h"

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

const std::vector<float> kFloats = {1.5f, -0.0f, std::numeric_limits<float>::infinity(),
                                    std::numeric_limits<float>::denorm_min()};

std::string OneOfEach() {
  ByteWriter writer;
  writer.Byte(0xab);
  writer.Uint32(0x12345678);
  writer.Uint64(0x1122334455667788);
  writer.Double(-2.5);
  writer.Text(std::string("a\0b", 3));
  writer.Text("");
  writer.Floats(kFloats);
  writer.Floats({});
  return std::move(writer).Take();
}

struct Everything {
  uint8_t byte = 0;
  uint32_t small = 0;
  uint64_t large = 0;
  double number = 0;
  std::string text;
  std::string empty = "not yet";
  std::vector<float> floats = std::vector<float>(4);
};

absl::Status ReadEverything(absl::string_view bytes, Everything& into) {
  ByteReader reader(bytes);
  TALWEG_RETURN_IF_ERROR(reader.Byte(into.byte));
  TALWEG_RETURN_IF_ERROR(reader.Uint32(into.small));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(into.large));
  TALWEG_RETURN_IF_ERROR(reader.Double(into.number));
  TALWEG_RETURN_IF_ERROR(reader.Text(into.text));
  TALWEG_RETURN_IF_ERROR(reader.Text(into.empty));
  TALWEG_RETURN_IF_ERROR(reader.Floats(absl::MakeSpan(into.floats)));
  TALWEG_RETURN_IF_ERROR(reader.Floats({}));
  return reader.End();
}

TEST(ByteIoTest, ReadsBackWhatItWrote) {
  Everything got;
  ASSERT_TRUE(ReadEverything(OneOfEach(), got).ok());
  EXPECT_EQ(got.byte, 0xab);
  EXPECT_EQ(got.small, 0x12345678u);
  EXPECT_EQ(got.large, 0x1122334455667788u);
  EXPECT_EQ(got.number, -2.5);
  EXPECT_EQ(got.text, std::string("a\0b", 3));
  EXPECT_EQ(got.empty, "");
  ASSERT_EQ(got.floats.size(), kFloats.size());
  for (size_t i = 0; i < kFloats.size(); ++i) {
    EXPECT_EQ(std::bit_cast<uint32_t>(got.floats[i]), std::bit_cast<uint32_t>(kFloats[i]));
  }
}

TEST(ByteIoTest, KeepsTheBitsOfANan) {
  const uint64_t bits = 0x7ff8dead00c0ffee;
  ByteWriter writer;
  writer.Double(std::bit_cast<double>(bits));
  ByteReader reader(writer.bytes());
  double got = 0;
  ASSERT_TRUE(reader.Double(got).ok());
  EXPECT_EQ(std::bit_cast<uint64_t>(got), bits);
}

TEST(ByteIoTest, IsLittleEndian) {
  ByteWriter writer;
  writer.Byte(7);
  writer.Uint32(0x04030201);
  writer.Text("hi");
  writer.Floats(std::vector<float>{1.0f});
  EXPECT_EQ(writer.bytes(), std::string("\x07"
                                        "\x01\x02\x03\x04"
                                        "\x02\0\0\0\0\0\0\0hi"
                                        "\x01\0\0\0\0\0\0\0\x00\x00\x80\x3f",
                                        27));
}

TEST(ByteIoTest, InputCutAtAnyByteIsCorrupt) {
  const std::string whole = OneOfEach();
  for (size_t size = 0; size < whole.size(); ++size) {
    // A copy of its own, so that the address sanitizer sees a read past the end.
    const std::string cut(whole, 0, size);
    Everything got;
    const absl::Status status = ReadEverything(cut, got);
    EXPECT_EQ(ReasonName(status), "STATE_CORRUPT") << "cut at " << size;
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  }
}

TEST(ByteIoTest, BytesAfterTheEndAreCorrupt) {
  Everything got;
  EXPECT_EQ(ReasonName(ReadEverything(OneOfEach() + '\0', got)), "STATE_CORRUPT");
}

TEST(ByteIoTest, SizesThatAreNotThereAreCorrupt) {
  for (const uint64_t size : {uint64_t{9}, uint64_t{1} << 62, ~uint64_t{0}}) {
    ByteWriter writer;
    writer.Uint64(size);
    writer.Uint64(0);
    std::string text;
    EXPECT_EQ(ReasonName(ByteReader(writer.bytes()).Text(text)), "STATE_CORRUPT") << size;
    std::vector<float> floats(8);
    EXPECT_EQ(ReasonName(ByteReader(writer.bytes()).Floats(absl::MakeSpan(floats))),
              "STATE_CORRUPT")
        << size;
  }
}

TEST(ByteIoTest, AnotherNumberOfFloatsIsCorrupt) {
  ByteWriter writer;
  writer.Floats(kFloats);
  for (const size_t size : {0, 3, 5}) {
    std::vector<float> floats(size);
    EXPECT_EQ(ReasonName(ByteReader(writer.bytes()).Floats(absl::MakeSpan(floats))),
              "STATE_CORRUPT")
        << size;
  }
}

TEST(ByteIoTest, RemainingCountsDown) {
  const std::string bytes(13, '\0');
  ByteReader reader(bytes);
  EXPECT_EQ(reader.remaining(), 13u);
  uint64_t large = 0;
  ASSERT_TRUE(reader.Uint64(large).ok());
  EXPECT_EQ(reader.remaining(), 5u);
  EXPECT_FALSE(reader.End().ok());
}

}  // namespace
}  // namespace talweg::core
