// SPDX-License-Identifier: Apache-2.0
#include "server/wire/chunk_from_proto.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "server/wire/section_codec.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

absl::Status Misplaced(absl::string_view message, absl::string_view field, uint64_t due) {
  return MakeError(Reason::kChunkMisplaced, message, field,
                   {{"expected_element", absl::StrCat(due)}});
}

absl::Status SizeOutOfRange(uint64_t bytes, uint64_t count, uint64_t smallest) {
  return MakeError(
      Reason::kFieldOutOfRange,
      absl::StrCat("chunk has ", count, " elements (", bytes,
                   " bytes of data), allowed: ", smallest, " to ", kMaxChunkBytes, " bytes"),
      "chunk.section.data");
}

}  // namespace

absl::StatusOr<core::EncodedVector> NextNumbers(const v1::Chunk& chunk, v1::SectionKind kind,
                                                uint64_t next_element, uint64_t num_elements) {
  if (!chunk.has_section()) {
    return MakeError(Reason::kFieldRequired, "chunk.section is required", "chunk.section");
  }
  const v1::Section& section = chunk.section();
  const absl::StatusOr<core::EncodedVector> numbers = NumbersOf(section, kind);
  if (!numbers.ok()) return core::PrefixField(numbers.status(), "chunk.section");
  const uint64_t bytes = numbers->bytes.size();
  const uint64_t count = bytes / core::DtypeBytes(numbers->dtype);
  if (section.begin_element() != next_element) {
    return Misplaced(absl::StrCat("chunk begins at element ", section.begin_element(),
                                  ", expected ", next_element),
                     "chunk.section.begin_element", next_element);
  }
  const uint64_t left = num_elements - next_element;
  if (count > left) {
    return Misplaced(absl::StrCat("chunk has ", count, " elements, the layout has ", left,
                                  " from element ", next_element, " on"),
                     "chunk.section.data", next_element);
  }
  const uint64_t smallest = count == left ? 1 : kMinChunkBytes;
  if (bytes < smallest || bytes > kMaxChunkBytes) {
    return SizeOutOfRange(bytes, count, smallest);
  }
  if (chunk.has_crc32c()) {
    const uint32_t crc = core::Crc32c(numbers->bytes);
    if (crc != chunk.crc32c()) {
      return MakeError(Reason::kChunkCorrupt,
                       absl::StrCat("chunk at element ", next_element, " has CRC32C ", crc,
                                    ", it was sent with ", chunk.crc32c()),
                       "chunk.crc32c");
    }
  }
  return numbers;
}

absl::Status CheckCommit(uint64_t next_element, uint64_t num_elements) {
  if (next_element == num_elements) return absl::OkStatus();
  return Misplaced(absl::StrCat("commit came at element ", next_element, " of ", num_elements),
                   "commit", next_element);
}

}  // namespace talweg::server
