// SPDX-License-Identifier: Apache-2.0
#include "client/cli/npy.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/half_float.h"

namespace talweg {
namespace {

constexpr absl::string_view kMagic = "\x93NUMPY";
constexpr size_t kAlignment = 64;                    // of the numbers within the file
constexpr size_t kMaxHeaderBytes = size_t{1} << 16;  // more than any shape takes
constexpr size_t kBlockBytes = size_t{1} << 16;

absl::Status Refuse(absl::string_view text) { return absl::InvalidArgumentError(text); }

// Reads `size` bytes, or refuses with `otherwise`.
absl::Status ReadAll(ByteSource& source, char* to, size_t size, absl::string_view otherwise) {
  const absl::StatusOr<size_t> read = source.Read(to, size);
  if (!read.ok()) return read.status();
  return *read == size ? absl::OkStatus() : Refuse(otherwise);
}

template <class Bits>
Bits BitsAt(const char* bytes, bool big_endian) {
  Bits bits = 0;
  for (size_t i = 0; i < sizeof(Bits); ++i) {
    const size_t place = big_endian ? i : sizeof(Bits) - 1 - i;
    bits = static_cast<Bits>(bits << 8 | static_cast<uint8_t>(bytes[place]));
  }
  return bits;
}

// The number at `bytes`; as a double, which holds each of them.
double NumberAt(const char* bytes, const NpyHeader& header) {
  switch (header.number) {
    case NpyNumber::kFloat16:
      return static_cast<double>(
          core::Float32FromFloat16(BitsAt<uint16_t>(bytes, header.big_endian)));
    case NpyNumber::kFloat32:
      return static_cast<double>(std::bit_cast<float>(BitsAt<uint32_t>(bytes, header.big_endian)));
    case NpyNumber::kFloat64:
      break;
  }
  return std::bit_cast<double>(BitsAt<uint64_t>(bytes, header.big_endian));
}

// Places in C order, in the order in which a file has its numbers.
class Places {
 public:
  explicit Places(const NpyHeader& header) : shape_(header.shape) {
    in_order_ = !header.fortran_order || shape_.size() < 2;
    if (in_order_) return;
    strides_.resize(shape_.size());
    uint64_t stride = 1;
    for (size_t k = shape_.size(); k-- > 0; stride *= shape_[k]) strides_[k] = stride;
    index_.resize(shape_.size());
  }

  // The next place.
  uint64_t Next() {
    const uint64_t place = place_;
    if (in_order_) {
      ++place_;
      return place;
    }
    // The first index runs fastest.
    for (size_t k = 0; k < index_.size(); ++k) {
      place_ += strides_[k];
      if (++index_[k] < shape_[k]) break;
      place_ -= strides_[k] * shape_[k];
      index_[k] = 0;
    }
    return place;
  }

 private:
  const absl::Span<const uint64_t> shape_;
  bool in_order_ = true;
  std::vector<uint64_t> strides_;  // of C order
  std::vector<uint64_t> index_;
  uint64_t place_ = 0;
};

}  // namespace

absl::StatusOr<NpyReader> NpyReader::Open(std::unique_ptr<ByteSource> source) {
  constexpr absl::string_view kEnds = "ends within its header";
  char start[8];  // magic and version
  absl::Status read = ReadAll(*source, start, sizeof(start), "is no .npy file");
  if (!read.ok()) return read;
  if (absl::string_view(start, kMagic.size()) != kMagic) return Refuse("is no .npy file");
  const int major = static_cast<uint8_t>(start[6]);
  const int minor = static_cast<uint8_t>(start[7]);
  if (major < 1 || major > 3 || minor != 0) {
    return Refuse(absl::StrCat("is of version ", major, ".", minor,
                               " of the format; known are 1.0, 2.0 and 3.0"));
  }
  char size_bytes[4] = {};
  read = ReadAll(*source, size_bytes, major == 1 ? 2 : 4, kEnds);
  if (!read.ok()) return read;
  const size_t size = BitsAt<uint32_t>(size_bytes, /*big_endian=*/false);
  if (size > kMaxHeaderBytes) {
    return Refuse(
        absl::StrCat("has a header of ", size, " bytes; at most ", kMaxHeaderBytes, " are read"));
  }
  std::string text(size, '\0');
  read = ReadAll(*source, text.data(), size, kEnds);
  if (!read.ok()) return read;
  absl::StatusOr<NpyHeader> header = ParseNpyHeader(text);
  if (!header.ok()) return header.status();
  return NpyReader(std::move(source), *std::move(header));
}

absl::Status NpyReader::Read(absl::Span<float> values) {
  const size_t element_bytes = BytesOf(header_.number);
  const bool is_float32 = header_.number == NpyNumber::kFloat32;
  std::vector<char> block(kBlockBytes);
  Places places(header_);
  for (size_t done = 0; done < values.size();) {
    const size_t count = std::min(values.size() - done, kBlockBytes / element_bytes);
    const absl::StatusOr<size_t> read = source_->Read(block.data(), count * element_bytes);
    if (!read.ok()) return read.status();
    if (*read < count * element_bytes) {
      return Refuse(absl::StrCat("ends after ", done + *read / element_bytes, " of the ",
                                 values.size(), " elements of its shape ",
                                 ShapeText(header_.shape)));
    }
    for (size_t i = 0; i < count; ++i) {
      const char* bytes = block.data() + i * element_bytes;
      float& value = values[places.Next()];
      // A NaN would not survive the way over double with all its bits.
      if (is_float32) {
        value = std::bit_cast<float>(BitsAt<uint32_t>(bytes, header_.big_endian));
        continue;
      }
      const double number = NumberAt(bytes, header_);
      value = static_cast<float>(number);
      if (std::isinf(value) && !std::isinf(number)) {
        return Refuse(absl::StrCat("holds ", number, " at element ", &value - values.data(),
                                   ", which is too large for float32"));
      }
    }
    done += count;
  }
  char more = 0;
  const absl::StatusOr<size_t> rest = source_->Read(&more, 1);
  if (!rest.ok()) return rest.status();
  if (*rest == 0) return absl::OkStatus();
  return Refuse(absl::StrCat("goes on behind the ", values.size(), " elements of its shape ",
                             ShapeText(header_.shape)));
}

std::string NpyPrefix(absl::Span<const uint64_t> shape) {
  std::string header =
      absl::StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': ", ShapeText(shape), ", }");
  const size_t before = kMagic.size() + 2 + 2;
  while ((before + header.size() + 1) % kAlignment != 0) header += ' ';
  header += '\n';
  std::string bytes = absl::StrCat(kMagic, absl::string_view("\x01\x00", 2));
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header;
}

}  // namespace talweg
