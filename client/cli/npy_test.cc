// SPDX-License-Identifier: Apache-2.0
//
// The files under testdata/ are NumPy's: make_npy.py.
#include "client/cli/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>

namespace talweg {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<float> kValues = {1.5f, -0.25f, 3.0e38f, 1.0e-45f, -0.0f, 7.0f};

std::string Path(const std::string& name) { return std::string(TALWEG_NPY_FOLDER) + "/" + name; }

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string Refusal(absl::string_view bytes) {
  const absl::Status status = ParseNpy(bytes).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

TEST(NpyTest, ReadsWhatNumpyWrote) {
  const auto vector = ReadNpy(Path("vector.npy"));
  ASSERT_TRUE(vector.ok()) << vector.status();
  EXPECT_EQ(*vector, kValues);
  EXPECT_TRUE(std::signbit((*vector)[4]));
  EXPECT_EQ(ReadNpy(Path("matrix_v2.npy")).value(), kValues);
  EXPECT_THAT(ReadNpy(Path("scalar.npy")).value(), ElementsAre(1.5f));
  EXPECT_TRUE(ReadNpy(Path("empty.npy")).value().empty());
}

TEST(NpyTest, WritesNumpysOwnBytes) {
  EXPECT_EQ(FormatNpy(kValues), Contents(Path("vector.npy")));
  EXPECT_EQ(FormatNpy({}), Contents(Path("empty.npy")));
}

TEST(NpyTest, FileRoundTripKeepsEveryBit) {
  const std::string path = ::testing::TempDir() + "/talweg_round_trip.npy";
  std::vector<float> values(1000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  ASSERT_TRUE(WriteNpy(path, values).ok());
  EXPECT_EQ(ReadNpy(path).value(), values);
}

TEST(NpyTest, RefusesOtherKindsAndNamesThem) {
  EXPECT_THAT(Refusal(Contents(Path("float64.npy"))), HasSubstr("holds '<f8'"));
  EXPECT_THAT(Refusal(Contents(Path("big_endian.npy"))), HasSubstr("holds '>f4'"));
  EXPECT_THAT(Refusal(Contents(Path("fortran.npy"))), HasSubstr("Fortran order"));
  EXPECT_THAT(Refusal(Contents(Path("version_3.npy"))), HasSubstr("version 3"));
}

TEST(NpyTest, RefusesEveryTruncation) {
  const std::string whole = Contents(Path("vector.npy"));
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(ParseNpy(whole.substr(0, size)).ok()) << size;
  }
  EXPECT_THAT(Refusal(whole + "x"), HasSubstr("its shape has 6 elements, its data 25 bytes"));
}

TEST(NpyTest, RefusesShapesBeyondMemory) {
  std::string bytes = Contents(Path("vector.npy"));
  const std::string huge = "(6000000000,6000000000), }";
  bytes.replace(bytes.find("(6,), }"), huge.size(), huge);
  EXPECT_THAT(Refusal(bytes), HasSubstr("larger than memory"));
}

TEST(NpyTest, ErrorsNameTheFile) {
  EXPECT_TRUE(absl::IsNotFound(ReadNpy(Path("missing.npy")).status()));
  EXPECT_THAT(std::string(ReadNpy(Path("float64.npy")).status().message()),
              HasSubstr("float64.npy: "));
  EXPECT_FALSE(WriteNpy("/no/such/folder/x.npy", kValues).ok());
}

}  // namespace
}  // namespace talweg
