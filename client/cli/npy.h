// SPDX-License-Identifier: Apache-2.0
//
// NumPy's .npy files of float32 numbers, little-endian, in C order: a session's parameters and
// gradients.
//
// Format: numpy.lib.format, versions 1.0 and 2.0. The magic "\x93NUMPY", two version bytes, the
// size of the header (2 or 4 bytes, little-endian), the header (a Python dictionary with descr,
// fortran_order and shape, padded with spaces to 64 bytes and ended by a newline), the data.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg {

// All elements of `bytes`, which may have any shape, in C order. INVALID_ARGUMENT, saying what is
// there instead: another version, another type, Fortran order, or a size that does not fit the
// shape.
absl::StatusOr<std::vector<float>> ParseNpy(absl::string_view bytes);
// A file of version 1.0 and shape [values.size()].
std::string FormatNpy(absl::Span<const float> values);

// The same from and to a file. NOT_FOUND or INTERNAL if the file cannot be opened or written.
// Errors name the file.
absl::StatusOr<std::vector<float>> ReadNpy(const std::string& path);
// Whether WriteNpy could write there. Leaves what is there as it is.
absl::Status CheckWritable(const std::string& path);
absl::Status WriteNpy(const std::string& path, absl::Span<const float> values);

}  // namespace talweg
