// SPDX-License-Identifier: Apache-2.0
//
// MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 by 28 grey values, from
// gzipped IDX files. Origin, licence and checksums: client/data/mnist/README.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg {

// Images with their labels. A value.
struct MnistSet {
  static constexpr size_t kPixels = 28 * 28;

  std::vector<uint8_t> pixels;  // [size, kPixels], row-major
  std::vector<uint8_t> labels;  // [size], each < 10

  size_t size() const { return labels.size(); }
  // Writes image `index` to `input`, [kPixels], as the network reads it: (pixel / 255 - mean) /
  // deviation, both taken over the training set.
  void CopyInput(size_t index, absl::Span<float> input) const;
};

struct MnistData {
  MnistSet train;  // 60,000
  MnistSet test;   // 10,000
};

// The names of the files in their folder: images, then labels; of training, then of test.
inline constexpr absl::string_view kMnistFiles[] = {
    "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz"};

// Reads the four files in `folder`. NOT_FOUND if one is missing, DATA_LOSS if one has another magic
// number, shape, size or label than MNIST has; both name the file. Takes about 0.3 s.
absl::StatusOr<MnistData> LoadMnist(const std::string& folder);

// The folders in which the files may stand, by the path of a program: `share/talweg/mnist` beside
// an installed program; for a program in a build folder, also the source around it.
std::vector<std::string> MnistFoldersOf(const std::string& program);

// The first folder that holds the files. Looks in `asked`, if that is not empty; else in
// $TALWEG_DATA_DIR and its `mnist`, in `client/data/mnist` under the current folder, and in the
// folders of the running program. NOT_FOUND, with a list of where it looked.
absl::StatusOr<std::string> FindMnist(const std::string& asked);

// FindMnist, then LoadMnist.
absl::StatusOr<MnistData> FindAndLoadMnist(const std::string& asked);

}  // namespace talweg
