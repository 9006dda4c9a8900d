// SPDX-License-Identifier: Apache-2.0
//
// Files that hold the parameters or a gradient of a session:
//
//   .npy   one array: all elements in one dimension, or, if the layout has one tensor, its shape
//   .npz   the tensors by name, each in its shape
//
// What a file that is read is, its first bytes say; how a file is written, the end of its name
// says.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cli/npy.h"
#include "client/cli/npz.h"
#include "talweg/v1/session.pb.h"

namespace talweg {

// An open file of which nothing but the headers has been read. Errors name the file.
class TensorFile {
 public:
  // NOT_FOUND if the file cannot be opened, INVALID_ARGUMENT if it is no such file (npy.h, npz.h).
  static absl::StatusOr<TensorFile> Open(const std::string& path);

  // What a person should know: "x.npy holds float64, which is rounded to float32". Empty if there
  // is nothing to know.
  std::string Note() const;
  // All elements in the order of `layout`. Takes no memory before the shapes fit the layout:
  // INVALID_ARGUMENT, naming what is missing, not known or of another shape. Once only.
  absl::StatusOr<std::vector<float>> Read(const v1::Layout& layout);

 private:
  explicit TensorFile(std::string path) : path_(std::move(path)) {}
  absl::Status Wrong(absl::string_view text) const;
  absl::StatusOr<std::vector<float>> ReadArray(const v1::Layout& layout);
  absl::StatusOr<std::vector<float>> ReadMembers(const v1::Layout& layout);

  std::string path_;
  std::optional<NpyReader> npy_;  // or
  std::optional<NpzReader> npz_;
};

// Whether WriteTensors could write there. Leaves what is there as it is.
absl::Status CheckWritable(const std::string& path);
// Writes `values`, which are in the order of `layout`: by tensor if `path` ends with ".npz", else
// as one .npy of one dimension.
absl::Status WriteTensors(const std::string& path, const v1::Layout& layout,
                          absl::Span<const float> values);

}  // namespace talweg
