// SPDX-License-Identifier: Apache-2.0
//
// NumPy's .npy files: one array of numbers.
//
// Format: numpy.lib.format. The magic "\x93NUMPY", two version bytes (1, 2 or 3, and 0), the size
// of the header (2 bytes in version 1, then 4; little-endian), the header (npy_header.h), the
// numbers. Read are float32, float64 and float16, in either byte order and in C or Fortran order.
// Written is version 1: float32, little-endian, in C order, the numbers at a multiple of 64 bytes.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cli/npy_header.h"

namespace talweg {

// Bytes one after the other: a file, or a member of an archive.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Reads `size` bytes, fewer only at the end, and returns how many.
  virtual absl::StatusOr<size_t> Read(char* to, size_t size) = 0;
};

// One array, read once from front to back. It keeps 64 KiB and what the caller hands in, whatever
// the header says. The text of an error goes on behind the name of the file: "ends within its
// header".
class NpyReader {
 public:
  // Reads the header. INVALID_ARGUMENT, saying what is there instead, if it is none (npy_header.h),
  // or if it is longer than 64 KiB.
  static absl::StatusOr<NpyReader> Open(std::unique_ptr<ByteSource> source);

  const NpyHeader& header() const { return header_; }
  // Fills `values` ([header().num_elements()]) in C order. float64 is rounded to nearest even.
  // INVALID_ARGUMENT if the file has fewer or more numbers, or a finite one that float32 cannot
  // hold. Once only.
  absl::Status Read(absl::Span<float> values);

 private:
  NpyReader(std::unique_ptr<ByteSource> source, NpyHeader header)
      : source_(std::move(source)), header_(std::move(header)) {}

  std::unique_ptr<ByteSource> source_;
  NpyHeader header_;
};

// What stands before the numbers of a file of that shape, which has at most 64 dimensions.
std::string NpyPrefix(absl::Span<const uint64_t> shape);

}  // namespace talweg
