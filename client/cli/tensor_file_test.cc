// SPDX-License-Identifier: Apache-2.0
//
// The files under testdata/ are NumPy's: make_npy.py.
#include "client/cli/tensor_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/npy_testing.h"
#include "client/cli/typed_config.h"

namespace talweg {
namespace {

using ::testing::HasSubstr;

const std::vector<float> kMatrix = {1.5f, -0.25f, 3.0e38f, 1.0e-45f, -0.0f, 7.0f};

std::string Path(const std::string& name) { return absl::StrCat(TALWEG_NPY_FOLDER, "/", name); }

absl::StatusOr<std::vector<float>> Read(const std::string& name, const std::string& layout) {
  absl::StatusOr<TensorFile> file = TensorFile::Open(Path(name));
  if (!file.ok()) return file.status();
  return file->Read(ParseLayout(layout).value());
}

// Without the path in front.
std::string Refusal(const std::string& name, const std::string& layout) {
  const absl::Status status = Read(name, layout).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  const std::string text(status.message());
  EXPECT_EQ(text.find(Path(name) + " "), 0u) << text;
  return text.substr(Path(name).size() + 1);
}

TEST(TensorFileTest, AnArrayHasTheTensorsShapeOrOneDimension) {
  EXPECT_EQ(Read("matrix_v2.npy", "w:2,3").value(), kMatrix);
  EXPECT_EQ(Read("fortran.npy", "w:2,3").value(), kMatrix);
  EXPECT_EQ(Read("vector.npy", "w:2,3").value(), kMatrix);
  EXPECT_EQ(Read("vector.npy", "w:2,2 b:2").value(), kMatrix);
  EXPECT_EQ(Read("scalar.npy", "s").value(), std::vector<float>{1.5f});
  EXPECT_EQ(Refusal("matrix_v2.npy", "w:3,2"),
            "has the shape (2, 3), the tensor \"w\" has (3, 2); taken is that, or (6,)");
  EXPECT_EQ(Refusal("matrix_v2.npy", "w:4 b:2"),
            "has the shape (2, 3), the layout has 6 elements in 2 tensors; taken is (6,), or an "
            ".npz file with each tensor");
  EXPECT_THAT(Refusal("vector.npy", "w:4 b:3"), HasSubstr("has the shape (6,), the layout has 7"));
  EXPECT_THAT(Refusal("vector.npy", "s"),
              HasSubstr("the tensor \"s\" has (); taken is that, or (1"));
}

TEST(TensorFileTest, AnArchiveHasEveryTensorByItsNameInAnyOrder) {
  std::vector<float> both = kMatrix;
  both.insert(both.end(), {0.5f, -1.0f, 2.0f});
  EXPECT_EQ(Read("stored.npz", "w:2,3 b:3").value(), both);
  EXPECT_EQ(Read("deflated.npz", "w:2,3 b:3").value(), both);
  std::vector<float> turned = {0.5f, -1.0f, 2.0f};
  turned.insert(turned.end(), kMatrix.begin(), kMatrix.end());
  EXPECT_EQ(Read("stored.npz", "b:3 w:2,3").value(), turned);
}

TEST(TensorFileTest, AnArchiveThatDoesNotFitIsRefusedByTheTensorsName) {
  EXPECT_EQ(Refusal("missing.npz", "w:2,3 b:3"), "has no member for the tensor \"b\"");
  EXPECT_EQ(Refusal("unknown.npz", "w:2,3 b:3"),
            "has a member \"c\", which is no tensor of the layout; there are: w b");
  EXPECT_EQ(Refusal("transposed.npz", "w:2,3 b:3"),
            "has \"w\" in the shape (3, 2), the layout has it in (2, 3)");
  EXPECT_THAT(Refusal("stored.npz", "w:6 b:3"), HasSubstr("the layout has it in (6,)"));
  EXPECT_EQ(Refusal("twice.npz", "w:2,3 b:3"), "has a member \"w\" that is there twice");
  EXPECT_THAT(Refusal("short.npz", "w:2,3 b:3"), HasSubstr("ends after 5 of the 6 elements"));
}

TEST(TensorFileTest, TellsWhenNumbersChangeTheirKind) {
  EXPECT_EQ(TensorFile::Open(Path("vector.npy"))->Note(), "");
  EXPECT_EQ(TensorFile::Open(Path("float64.npy"))->Note(),
            Path("float64.npy") + " holds float64, which is rounded to float32");
  EXPECT_THAT(TensorFile::Open(Path("float16.npy"))->Note(), HasSubstr("without loss"));
  EXPECT_THAT(TensorFile::Open(Path("deflated.npz"))->Note(), HasSubstr("holds float64"));
}

TEST(TensorFileTest, WritesByTensorOrFlatAsTheNameSays) {
  const v1::Layout layout = ParseLayout("w:2,2 b:2").value();
  for (const std::string name : {"/out.npz", "/OUT.NPZ", "/out.npy", "/out"}) {
    const std::string path = ::testing::TempDir() + name;
    ASSERT_TRUE(CheckWritable(path).ok());
    const absl::Status written = WriteTensors(path, layout, kMatrix);
    ASSERT_TRUE(written.ok()) << written;
    EXPECT_EQ(TensorFile::Open(path)->Read(layout).value(), kMatrix);
    const std::string begins = testing::Contents(path).substr(0, 2);
    EXPECT_EQ(begins == "PK", absl::StrContains(absl::AsciiStrToLower(name), "npz")) << name;
  }
  EXPECT_EQ(testing::Contents(::testing::TempDir() + "/out.npy"), testing::FormatNpy(kMatrix));
}

TEST(TensorFileTest, ErrorsNameTheFile) {
  EXPECT_TRUE(absl::IsNotFound(TensorFile::Open("/no/such.npy").status()));
  EXPECT_THAT(std::string(TensorFile::Open("/").status().message()),
              HasSubstr("/ is empty, or no"));
  EXPECT_THAT(std::string(TensorFile::Open(Path("make_npy.py")).status().message()),
              HasSubstr("make_npy.py is no .npy file"));
  EXPECT_FALSE(WriteTensors("/no/such/x.npy", ParseLayout("w:6").value(), kMatrix).ok());
  EXPECT_EQ(CheckWritable("/no/such/x.npz").message(), "cannot write /no/such/x.npz");
}

}  // namespace
}  // namespace talweg
