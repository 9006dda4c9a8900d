// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/mnist_data.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace talweg {
namespace {

constexpr uint32_t kTrainSize = 60000;
constexpr uint32_t kTestSize = 10000;
constexpr uint32_t kSide = 28;
constexpr uint32_t kNumLabels = 10;
// IDX magic numbers: unsigned bytes in three dimensions, and in one.
constexpr uint32_t kImageMagic = 0x00000803;
constexpr uint32_t kLabelMagic = 0x00000801;
// Mean and standard deviation of the training pixels, as shares of 255.
constexpr float kMean = 0.1307f;
constexpr float kDeviation = 0.3081f;

// What scales each grey value.
std::array<float, 256> MakeScale() {
  std::array<float, 256> scale{};
  for (size_t i = 0; i < scale.size(); ++i) {
    scale[i] = (static_cast<float>(i) / 255.0f - kMean) / kDeviation;
  }
  return scale;
}

// Reads a gzipped IDX file of unsigned bytes whose header must be `header`: big-endian words.
absl::StatusOr<std::vector<uint8_t>> ReadIdx(const std::string& path,
                                             std::initializer_list<uint32_t> header) {
  const gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  size_t size = 1;  // of the data, in bytes
  bool good = true;
  size_t position = 0;
  for (const uint32_t expected : header) {
    uint8_t word[4] = {};
    good = good && gzread(file, word, sizeof(word)) == sizeof(word);
    const uint32_t got = uint32_t{word[0]} << 24 | word[1] << 16 | word[2] << 8 | word[3];
    good = good && got == expected;
    if (position++ > 0) size *= expected;
  }
  std::vector<uint8_t> data(size);
  good = good && gzread(file, data.data(), static_cast<unsigned>(size)) == static_cast<int>(size);
  uint8_t beyond = 0;
  good = good && gzread(file, &beyond, 1) == 0;  // also checks gzip's own checksum
  good = gzclose(file) == Z_OK && good;
  if (!good) {
    return absl::DataLossError(absl::StrCat(path, " is not MNIST's: expected an IDX header of ",
                                            absl::StrJoin(header, ", "), " and ", size,
                                            " bytes behind it"));
  }
  return data;
}

absl::StatusOr<MnistSet> ReadSet(const std::string& images, const std::string& labels,
                                 uint32_t size) {
  MnistSet set;
  absl::StatusOr<std::vector<uint8_t>> pixels = ReadIdx(images, {kImageMagic, size, kSide, kSide});
  if (!pixels.ok()) return pixels.status();
  set.pixels = *std::move(pixels);
  absl::StatusOr<std::vector<uint8_t>> digits = ReadIdx(labels, {kLabelMagic, size});
  if (!digits.ok()) return digits.status();
  set.labels = *std::move(digits);
  if (*std::max_element(set.labels.begin(), set.labels.end()) >= kNumLabels) {
    return absl::DataLossError(absl::StrCat(labels, " has a label above 9"));
  }
  return set;
}

}  // namespace

void MnistSet::CopyInput(size_t index, absl::Span<float> input) const {
  static const std::array<float, 256> kScale = MakeScale();
  const uint8_t* image = pixels.data() + index * kPixels;
  for (size_t i = 0; i < kPixels; ++i) input[i] = kScale[image[i]];
}

absl::StatusOr<MnistData> LoadMnist(const std::string& folder) {
  const auto path = [&](int i) { return absl::StrCat(folder, "/", kMnistFiles[i]); };
  absl::StatusOr<MnistSet> train = ReadSet(path(0), path(1), kTrainSize);
  if (!train.ok()) return train.status();
  absl::StatusOr<MnistSet> test = ReadSet(path(2), path(3), kTestSize);
  if (!test.ok()) return test.status();
  return MnistData{*std::move(train), *std::move(test)};
}

std::vector<std::string> MnistFoldersOf(const std::string& program) {
  namespace fs = std::filesystem;
  const fs::path above = fs::path(program).parent_path().parent_path();
  std::vector<std::string> folders = {above / "share/talweg/mnist"};
  std::error_code error;
  if (fs::exists(above / "CMakeCache.txt", error)) {  // build/PRESET under the source
    folders.push_back(above.parent_path().parent_path() / "client/data/mnist");
  }
  return folders;
}

absl::StatusOr<std::string> FindMnist(const std::string& asked) {
  namespace fs = std::filesystem;
  std::vector<fs::path> folders;
  if (!asked.empty()) {
    folders.push_back(asked);
  } else {
    if (const char* data = std::getenv("TALWEG_DATA_DIR"); data != nullptr) {
      folders.push_back(fs::path(data) / "mnist");
      folders.push_back(data);
    }
    folders.push_back("client/data/mnist");
    std::error_code error;
    const fs::path program = fs::read_symlink("/proc/self/exe", error);
    if (!error) {
      for (const std::string& folder : MnistFoldersOf(program)) folders.push_back(folder);
    }
  }
  std::vector<std::string> looked;
  for (const fs::path& folder : folders) {
    std::error_code error;
    const std::string name = folder.lexically_normal().string();
    if (fs::exists(folder / std::string(kMnistFiles[0]), error)) return name;
    looked.push_back(name);
  }
  return absl::NotFoundError(absl::StrCat("no MNIST found; looked for ", kMnistFiles[0], " in ",
                                          absl::StrJoin(looked, ", "),
                                          "; name its folder with --data_dir or TALWEG_DATA_DIR"));
}

absl::StatusOr<MnistData> FindAndLoadMnist(const std::string& asked) {
  const absl::StatusOr<std::string> folder = FindMnist(asked);
  if (!folder.ok()) return folder.status();
  return LoadMnist(*folder);
}

}  // namespace talweg
