// SPDX-License-Identifier: Apache-2.0
//
// The files under testdata/ are NumPy's: make_npy.py.
#include "client/cli/npz.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "client/cli/npy_testing.h"

namespace talweg {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<float> kMatrix = {1.5f, -0.25f, 3.0e38f, 1.0e-45f, -0.0f, 7.0f};
const std::vector<float> kBias = {0.5f, -1.0f, 2.0f};

std::string Path(const std::string& name) { return absl::StrCat(TALWEG_NPY_FOLDER, "/", name); }

std::vector<float> ValuesOf(NpzReader& reader, const std::string& name) {
  for (const NpzReader::Member& member : reader.members()) {
    if (member.name != name) continue;
    std::vector<float> values(member.header.num_elements());
    const absl::Status read = reader.Read(member, absl::MakeSpan(values));
    EXPECT_TRUE(read.ok()) << read;
    return values;
  }
  ADD_FAILURE() << "no " << name;
  return {};
}

std::string Refusal(const std::string& path) {
  const absl::Status status = NpzReader::Open(path).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

TEST(NpzTest, ReadsStoredAndCompressedMembersOfNumpy) {
  for (const std::string name : {"stored.npz", "deflated.npz"}) {
    auto reader = NpzReader::Open(Path(name));
    ASSERT_TRUE(reader.ok()) << name << reader.status();
    ASSERT_EQ(reader->members().size(), 2u);
    EXPECT_EQ(ValuesOf(*reader, "w"), kMatrix) << name;
    EXPECT_EQ(ValuesOf(*reader, "b"), kBias) << name;
    // Again, and in another order.
    EXPECT_EQ(ValuesOf(*reader, "w"), kMatrix) << name;
  }
  auto folders = NpzReader::Open(Path("folders.npz"));
  ASSERT_TRUE(folders.ok()) << folders.status();
  EXPECT_EQ(ValuesOf(*folders, "layer/w"), kMatrix);
}

TEST(NpzTest, RefusesWhatIsNoArchiveOfArraysByTheMembersName) {
  EXPECT_EQ(Refusal(Path("twice.npz")), "has a member \"w\" that is there twice");
  EXPECT_EQ(Refusal(Path("no_npy.npz")), "has a member \"b.txt\" that is no .npy file by its name");
  EXPECT_THAT(Refusal(Path("ints.npz")), HasSubstr("has a member \"b\" that holds int64"));
  EXPECT_THAT(Refusal(Path("vector.npy")), HasSubstr("is no .npz file: "));
  EXPECT_THAT(Refusal(Path("missing file")), HasSubstr("is no .npz file: No such file"));
}

TEST(NpzTest, AMemberIsReadNoFurtherThanItsShapeSays) {
  for (const auto& [name, words] : {std::pair{"short.npz", "ends after 5 of the 6 elements"},
                                    std::pair{"bomb.npz", "goes on behind the 6 elements"}}) {
    auto reader = NpzReader::Open(Path(name));
    ASSERT_TRUE(reader.ok()) << reader.status();
    std::vector<float> values(6);
    const absl::Status read = reader->Read(reader->members()[0], absl::MakeSpan(values));
    EXPECT_THAT(std::string(read.message()), HasSubstr(absl::StrCat("\"w\" that ", words)));
  }
}

TEST(NpzTest, DamageIsFoundByTheChecksum) {
  std::string bytes = testing::Contents(Path("stored.npz"));
  const std::string first("\x00\x00\xc0\x3f", 4);  // 1.5
  bytes[bytes.find(first)] = 1;
  const std::string path = absl::StrCat(::testing::TempDir(), "/damaged.npz");
  ASSERT_TRUE(testing::WriteContents(path, bytes));
  auto reader = NpzReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::vector<float> values(6);
  const absl::Status read = reader->Read(reader->members()[0], absl::MakeSpan(values));
  EXPECT_THAT(std::string(read.message()), HasSubstr("CRC"));
}

TEST(NpzTest, NoTruncationIsTakenForAnArchive) {
  const std::string whole = testing::Contents(Path("stored.npz"));
  const std::string path = absl::StrCat(::testing::TempDir(), "/cut.npz");
  for (size_t size = 0; size < whole.size(); size += 7) {
    ASSERT_TRUE(testing::WriteContents(path, whole.substr(0, size)));
    EXPECT_FALSE(NpzReader::Open(path).ok()) << size;
  }
}

TEST(NpzTest, WhatIsWrittenIsReadAgainAndHasTheSameBytes) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/written.npz");
  const std::vector<uint64_t> shape = {2, 3};
  const std::vector<uint64_t> flat = {3};
  const std::vector<NpzArray> arrays = {
      {"layer/w", shape, kMatrix}, {"b", flat, kBias}, {"s", {}, {kBias.data(), 1}}};
  ASSERT_TRUE(testing::WriteContents(path, "what was there"));
  const absl::Status written = WriteNpz(path, arrays);
  ASSERT_TRUE(written.ok()) << written;
  const std::string bytes = testing::Contents(path);
  auto reader = NpzReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(reader->members()[0].name, "layer/w");
  EXPECT_THAT(reader->members()[0].header.shape, ElementsAre(2, 3));
  EXPECT_THAT(reader->members()[2].header.shape, ElementsAre());
  EXPECT_EQ(ValuesOf(*reader, "layer/w"), kMatrix);
  EXPECT_EQ(ValuesOf(*reader, "b"), kBias);
  EXPECT_EQ(ValuesOf(*reader, "s"), std::vector<float>{0.5f});
  ASSERT_TRUE(WriteNpz(path, arrays).ok());
  EXPECT_EQ(testing::Contents(path), bytes);
  EXPECT_THAT(std::string(WriteNpz("/no/such/folder/x.npz", arrays).message()),
              HasSubstr("cannot write /no/such/folder/x.npz: "));
}

}  // namespace
}  // namespace talweg
