// SPDX-License-Identifier: Apache-2.0
//
// Whole .npy files as texts. For tests only.
#pragma once

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cli/npy.h"
#include "client/cpp/talweg/float_bytes.h"

namespace talweg::testing {

class TextSource final : public ByteSource {
 public:
  explicit TextSource(absl::string_view rest) : rest_(rest) {}
  absl::StatusOr<size_t> Read(char* to, size_t size) override {
    size = std::min(size, rest_.size());
    std::memcpy(to, rest_.data(), size);
    rest_.remove_prefix(size);
    return size;
  }

 private:
  absl::string_view rest_;
};

struct NpyArray {
  std::vector<uint64_t> shape;
  std::vector<float> values;
};

// The array of a whole file. A shape with more elements than there are bytes is not read.
inline absl::StatusOr<NpyArray> ParseNpy(absl::string_view bytes) {
  absl::StatusOr<NpyReader> reader = NpyReader::Open(std::make_unique<TextSource>(bytes));
  if (!reader.ok()) return reader.status();
  const uint64_t size = reader->header().num_elements();
  if (size > bytes.size()) return absl::InvalidArgumentError("has fewer elements than its shape");
  NpyArray array = {reader->header().shape, std::vector<float>(size)};
  const absl::Status read = reader->Read(absl::MakeSpan(array.values));
  if (!read.ok()) return read;
  return array;
}

// A file of one dimension.
inline std::string FormatNpy(absl::Span<const float> values) {
  std::string data;
  AssignFloats(values, data);
  return NpyPrefix({uint64_t{values.size()}}) + data;
}

inline std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline bool WriteContents(const std::string& path, absl::string_view content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  return file.good();
}

}  // namespace talweg::testing
