// SPDX-License-Identifier: Apache-2.0
//
// The header of an .npy file: which numbers follow, in which order and shape.
//
// Format: numpy.lib.format. The header is a Python dictionary of the keys descr, fortran_order and
// shape, which may stand in any order, with any quotes and spaces:
//
//   {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg {

enum class NpyNumber { kFloat16, kFloat32, kFloat64 };

size_t BytesOf(NpyNumber number);
std::string NameOf(NpyNumber number);  // "float32"

struct NpyHeader {
  NpyNumber number = NpyNumber::kFloat32;
  bool big_endian = false;
  bool fortran_order = false;     // the first index runs fastest, not the last
  std::vector<uint64_t> shape;    // at most 64 dimensions; empty: one number
  uint64_t num_elements() const;  // the product, which does not overflow
};

// Reads the dictionary of a header. INVALID_ARGUMENT if NumPy would not take it, if it holds other
// numbers than those above, or if its shape has more than 2^58 elements. The text of an error goes
// on behind the name of a file: "holds int64 ('<i8'), ...".
absl::StatusOr<NpyHeader> ParseNpyHeader(absl::string_view text);

// As Python writes it: "(2, 3)", "(6,)", "()".
std::string ShapeText(absl::Span<const uint64_t> shape);

}  // namespace talweg
