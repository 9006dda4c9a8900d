// SPDX-License-Identifier: Apache-2.0
//
// The files under testdata/ are NumPy's: make_npy.py.
#include "client/cli/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "client/cli/npy_testing.h"

namespace talweg {
namespace {

using testing::Contents;
using ::testing::ElementsAre;
using testing::FormatNpy;
using ::testing::HasSubstr;
using testing::NpyArray;
using testing::ParseNpy;

const std::vector<float> kValues = {1.5f, -0.25f, 3.0e38f, 1.0e-45f, -0.0f, 7.0f};

absl::StatusOr<NpyArray> ReadFile(const std::string& name) {
  return ParseNpy(Contents(absl::StrCat(TALWEG_NPY_FOLDER, "/", name)));
}

std::string Refusal(absl::string_view bytes) {
  const absl::Status status = ParseNpy(bytes).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

std::string FileRefusal(const std::string& name) {
  return Refusal(Contents(absl::StrCat(TALWEG_NPY_FOLDER, "/", name)));
}

// A file of version `version` with that header, which holds kValues.
std::string WithHeader(const std::string& header, int version = 1) {
  std::string bytes = absl::StrCat("\x93NUMPY", absl::string_view("\x01\0", 2));
  bytes[6] = static_cast<char>(version);
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  if (version > 1) bytes += std::string(2, '\0');
  const std::string numbers = FormatNpy(kValues);
  return bytes + header + numbers.substr(numbers.size() - 4 * kValues.size());
}

// What a file with that header is refused for.
std::string HeaderRefusal(const std::string& header) { return Refusal(WithHeader(header)); }

TEST(NpyTest, ReadsWhatNumpyWrote) {
  const auto vector = ReadFile("vector.npy");
  ASSERT_TRUE(vector.ok()) << vector.status();
  EXPECT_THAT(vector->shape, ElementsAre(6));
  EXPECT_EQ(vector->values, kValues);
  EXPECT_TRUE(std::signbit(vector->values[4]));
  EXPECT_EQ(ReadFile("matrix_v2.npy")->values, kValues);
  EXPECT_THAT(ReadFile("matrix_v2.npy")->shape, ElementsAre(2, 3));
  EXPECT_EQ(ReadFile("version_3.npy")->values, kValues);
  EXPECT_EQ(ReadFile("big_endian.npy")->values, kValues);
  EXPECT_THAT(ReadFile("scalar.npy")->values, ElementsAre(1.5f));
  EXPECT_THAT(ReadFile("scalar.npy")->shape, ElementsAre());
  EXPECT_TRUE(ReadFile("empty.npy")->values.empty());
}

TEST(NpyTest, FortranOrderIsTransposed) {
  EXPECT_EQ(ReadFile("fortran.npy")->values, kValues);
  EXPECT_EQ(ReadFile("fortran_big_float64.npy")->values, kValues);
  EXPECT_THAT(ReadFile("fortran.npy")->shape, ElementsAre(2, 3));
  std::vector<float> counted(24);
  std::iota(counted.begin(), counted.end(), 0.0f);
  EXPECT_EQ(ReadFile("fortran_cube.npy")->values, counted);
}

TEST(NpyTest, Float64IsRoundedToNearestEvenAndFloat16IsKept) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float up = 1 + 4 * std::ldexp(1.0f, -24);
  EXPECT_THAT(ReadFile("float64.npy")->values, ElementsAre(0.1f, 1.0f, up, -0.0f, kInfinity));
  for (const char* name : {"float16.npy", "big_float16.npy"}) {
    EXPECT_THAT(ReadFile(name)->values,
                ElementsAre(0.0999755859375f, 65504.0f, std::ldexp(1.0f, -24), -kInfinity));
  }
  EXPECT_EQ(FileRefusal("float64_large.npy"),
            "holds -1e+39 at element 1, which is too large for float32");
}

TEST(NpyTest, ANotANumberKeepsItsBits) {
  std::string bytes = FormatNpy({0.0f});
  bytes.replace(bytes.size() - 4, 4, "\x01\x02\xa3\x7f");  // signalling, with a payload
  const float value = ParseNpy(bytes)->values[0];
  EXPECT_EQ(std::bit_cast<uint32_t>(value), 0x7fa30201u);
}

TEST(NpyTest, ReadsTheHeadersOfOtherPrograms) {
  for (const std::string header :
       {"{'descr': '<f4', 'fortran_order': True, 'shape': (6,), }\n",  // Julia's NPZ
        "{'descr': '<f4', 'fortran_order': True, 'shape': (6,)}",
        "{'shape': (6,), 'fortran_order': False, 'descr': '<f4'}",
        "{\"shape\":(6 ,),\"descr\":\"<f4\",\"fortran_order\":False}",
        "{ 'descr' :'=f4' , 'fortran_order' : False, 'shape':( 6, ) , } \n",
        "{'descr': 'float32', 'fortran_order': False, 'shape': (6L,), }",  // Python 2's long
        "{'descr': u'<f4', 'fortran_order': False, 'shape': (6,), }",      // Python 2's text
        "{u'descr': U\"<f4\", u'fortran_order': False, u'shape': (6,), }",
        "{'descr': '|f4', 'fortran_order': False, 'shape': (6,), }",
        "{'descr': 'f4',\n 'fortran_order': False,\n 'shape': (6,)\n}\n"}) {
    for (const int version : {1, 2, 3}) {
      const auto array = ParseNpy(WithHeader(header, version));
      ASSERT_TRUE(array.ok()) << header << array.status();
      EXPECT_EQ(array->values, kValues);
    }
  }
}

TEST(NpyTest, OtherNumbersAreRefusedForTheirTrueReason) {
  EXPECT_EQ(FileRefusal("int64.npy"),
            "holds int64 ('<i8'); taken are float32, float64 and float16");
  EXPECT_THAT(FileRefusal("bool.npy"), HasSubstr("holds truth values ('|b1')"));
  EXPECT_THAT(FileRefusal("complex.npy"), HasSubstr("holds complex64 ('<c8')"));
  EXPECT_THAT(FileRefusal("text.npy"), HasSubstr("holds text ('<U3')"));
  EXPECT_THAT(FileRefusal("bfloat16.npy"), HasSubstr("bfloat16 is saved so"));
  EXPECT_THAT(FileRefusal("record.npy"), HasSubstr("holds records of several fields: [('x', '<f4"));
  EXPECT_THAT(FileRefusal("object.npy"), HasSubstr("holds pickled Python objects"));
  EXPECT_THAT(FileRefusal("longdouble.npy"), HasSubstr("holds float128 ('<f16')"));
}

TEST(NpyTest, HeadersThatNumpyRefusesAreRefusedForTheirTrueReason) {
  EXPECT_THAT(HeaderRefusal("[1]"), HasSubstr("no dictionary: [1]"));
  EXPECT_THAT(HeaderRefusal("{'descr': '<f4', 'fortran_order': False, }"),
              HasSubstr("without the key 'shape'"));
  EXPECT_THAT(HeaderRefusal("{'descr': '<f4', 'order': 'C', 'shape': (6,)}"),
              HasSubstr("unknown key 'order'"));
  EXPECT_THAT(HeaderRefusal("{'descr': '<f4', 'descr': '<f4'}"), HasSubstr("two keys 'descr'"));
  EXPECT_THAT(HeaderRefusal("{'descr': '<f4', 'fortran_order': 0, 'shape': (6,)}"),
              HasSubstr("neither True nor False: 0"));
  for (const std::string shape : {"(6)", "6", "[6]", "(-6,)", "(2 3)", "(2,,3)", "(,)", "(6.0,)",
                                  "('6',)", "(99999999999999999999,)"}) {
    EXPECT_THAT(HeaderRefusal("{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + "}"),
                HasSubstr("no tuple of sizes: " + shape));
  }
  EXPECT_THAT(HeaderRefusal("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} 7"),
              HasSubstr("goes on behind its dictionary: 7"));
  EXPECT_THAT(HeaderRefusal("{'descr': '<f4' 'fortran_order': False, 'shape': (6,)}"),
              HasSubstr("no dictionary"));
  for (const std::string type : {"u", "u<f4", "uu'<f4'", "u '<f4'", "b'<f4'"}) {
    EXPECT_THAT(HeaderRefusal("{'descr': " + type + ", 'fortran_order': False, 'shape': (6,)}"),
                HasSubstr("descr is no type"));
  }
  EXPECT_THAT(HeaderRefusal("{'descr': '<f\\x34', 'fortran_order': False, 'shape': (6,)}"),
              HasSubstr("descr is no type"));
  std::string other = FormatNpy(kValues);
  other[6] = 4;
  EXPECT_THAT(Refusal(other), HasSubstr("of version 4.0 of the format"));
  other[6] = 1;
  other[7] = 1;
  EXPECT_THAT(Refusal(other), HasSubstr("of version 1.1 of the format"));
  EXPECT_THAT(Refusal("PNG and more"), HasSubstr("is no .npy file"));
}

TEST(NpyTest, RefusesEveryTruncationAndEveryMore) {
  for (const char* name : {"vector.npy", "matrix_v2.npy", "fortran_big_float64.npy"}) {
    const std::string whole = Contents(absl::StrCat(TALWEG_NPY_FOLDER, "/", name));
    for (size_t size = 0; size < whole.size(); ++size) {
      EXPECT_FALSE(ParseNpy(whole.substr(0, size)).ok()) << name << " " << size;
    }
  }
  const std::string whole = FormatNpy(kValues);
  EXPECT_EQ(Refusal(whole.substr(0, whole.size() - 5)),
            "ends after 4 of the 6 elements of its shape (6,)");
  EXPECT_EQ(Refusal(whole + "x"), "goes on behind the 6 elements of its shape (6,)");
}

TEST(NpyTest, AHostileHeaderTakesNoMemory) {
  const auto shaped = [](const std::string& shape) {
    return "{'descr': '<f4', 'fortran_order': True, 'shape': " + shape + "}";
  };
  EXPECT_THAT(HeaderRefusal(shaped("(6000000000, 6000000000)")), HasSubstr("larger than memory"));
  EXPECT_THAT(HeaderRefusal(shaped("(288230376151711745,)")), HasSubstr("larger than memory"));
  std::string ones = "(";
  for (int i = 0; i < 65; ++i) ones += "1,";
  EXPECT_THAT(HeaderRefusal(shaped(ones + ")")), HasSubstr("more than 64 dimensions"));
  // No element at all, whatever the other sizes are.
  EXPECT_TRUE(ParseNpyHeader(shaped("(6000000000, 6000000000, 0)")).ok());
  // 4 GiB of header, of which nothing is there.
  const std::string announced =
      absl::StrCat("\x93NUMPY\x02", absl::string_view("\0", 1), "\xff\xff\xff\xff");
  EXPECT_THAT(Refusal(announced), HasSubstr("has a header of 4294967295 bytes"));
  // Whatever a byte of the header becomes, it is read or refused.
  const std::string whole = FormatNpy(kValues);
  for (size_t at = 0; at < whole.size() - 4 * kValues.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      std::string bent = whole;
      bent[at] = static_cast<char>(value);
      const auto array = ParseNpy(bent);
      EXPECT_LE(array.ok() ? array->values.size() : 0, kValues.size());
    }
  }
}

TEST(NpyTest, WritesNumpysOwnBytes) {
  EXPECT_EQ(FormatNpy(kValues), Contents(absl::StrCat(TALWEG_NPY_FOLDER, "/vector.npy")));
  EXPECT_EQ(FormatNpy({}), Contents(absl::StrCat(TALWEG_NPY_FOLDER, "/empty.npy")));
}

}  // namespace
}  // namespace talweg
