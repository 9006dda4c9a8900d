// SPDX-License-Identifier: Apache-2.0
//
// NumPy's .npz files: a zip archive with one .npy file for each array, "w.npy" for the array "w".
// Members may be stored or compressed and stand in any order. The archive itself is libzip's work.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cli/npy_header.h"

struct zip;

namespace talweg {

// An open archive. The headers of its members are read at once, their numbers when they are asked
// for. What is read is bounded by the shapes in the headers, however well a member is compressed.
class NpzReader {
 public:
  struct Member {
    std::string name;  // of the array
    NpyHeader header;
    uint64_t index = 0;  // within the archive
  };

  // INVALID_ARGUMENT, naming the member, if the file is no such archive, if two members have one
  // name, or if a member is no .npy file that is read. The text of an error goes on behind the name
  // of the file.
  static absl::StatusOr<NpzReader> Open(const std::string& path);

  const std::vector<Member>& members() const { return members_; }
  // Fills `values` ([member.header.num_elements()]) in C order. Errors name the member.
  absl::Status Read(const Member& member, absl::Span<float> values);

 private:
  struct Close {
    void operator()(zip* archive) const;
  };
  explicit NpzReader(zip* archive) : archive_(archive) {}

  std::unique_ptr<zip, Close> archive_;
  std::vector<Member> members_;
};

// An array to write. Borrowed.
struct NpzArray {
  std::string name;
  absl::Span<const uint64_t> shape;
  absl::Span<const float> values;  // in C order
};

// Writes float32 members, not compressed, in the order of `arrays`. The same arrays give the same
// bytes. A file that is there is replaced once the whole archive is written. INTERNAL, with the
// system's words, if it cannot be written.
absl::Status WriteNpz(const std::string& path, absl::Span<const NpzArray> arrays);

}  // namespace talweg
