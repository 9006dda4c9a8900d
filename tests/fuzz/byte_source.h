// SPDX-License-Identifier: Apache-2.0
//
// The bytes that decide what a hostile case does: they come from a fuzzer or from a seed. When they
// are used up, every further value is zero. For fuzz tests only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/string_view.h"

namespace talweg::testing {

// Borrows its bytes. Thread-compatible.
class ByteSource {
 public:
  explicit ByteSource(absl::string_view bytes) : bytes_(bytes) {}

  bool empty() const { return bytes_.empty(); }

  // The next value of a plain type.
  template <class T>
  T Take() {
    T value{};
    const size_t size = std::min(sizeof(T), bytes_.size());
    if (size > 0) std::memcpy(&value, bytes_.data(), size);
    bytes_.remove_prefix(size);
    return value;
  }

  // A number in [0, limit).
  uint64_t Below(uint64_t limit) {
    return (limit <= 256 ? Take<uint8_t>() : Take<uint64_t>()) % limit;
  }

  // True about once in `times`.
  bool Once(uint64_t times) { return Below(times) == times - 1; }

  // The next `size` bytes, or as many as are left.
  absl::string_view Bytes(size_t size) {
    const absl::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(taken.size());
    return taken;
  }

 private:
  absl::string_view bytes_;
};

// Draws `size` bytes by splitmix64 from `state`, and moves `state` on.
inline std::string RandomBytes(size_t size, uint64_t& state) {
  std::string bytes((size + 7) / 8 * 8, '\0');
  for (size_t place = 0; place < bytes.size(); place += 8) {
    uint64_t x = state += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    x ^= x >> 31;
    std::memcpy(bytes.data() + place, &x, sizeof(x));
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace talweg::testing
