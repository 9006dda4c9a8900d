// SPDX-License-Identifier: Apache-2.0
//
// What happened, as a hash of every number that was said and, if asked for, as text.
#pragma once

#include <cstdint>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/simulation/random.h"

namespace talweg::simulation {

using Nanoseconds = int64_t;  // of virtual time, since the world began

constexpr Nanoseconds kSecond = 1'000'000'000;
constexpr Nanoseconds Seconds(double seconds) {
  return static_cast<Nanoseconds>(seconds * static_cast<double>(kSecond));
}

class Trace {
 public:
  explicit Trace(bool aloud) : aloud_(aloud) {}

  // Adds a line: a constant name and numbers.
  template <class... Numbers>
  void Say(Nanoseconds time, const char* what, const Numbers&... numbers) {
    ++lines_;
    Add(static_cast<uint64_t>(time));
    (Add(static_cast<uint64_t>(numbers)), ...);
    if (aloud_) Print(time, absl::StrCat(what, Separated(numbers)...));
  }
  // Prints text that is only for readers: it is no part of the hash.
  void Explain(Nanoseconds time, const std::string& text) {
    if (aloud_) Print(time, text);
  }

  bool aloud() const { return aloud_; }
  uint64_t hash() const { return hash_; }
  uint64_t lines() const { return lines_; }

 private:
  template <class Number>
  static std::string Separated(Number number) {
    return absl::StrCat(" ", number);
  }
  static void Print(Nanoseconds time, const std::string& text) {
    absl::PrintF("%12.6f %s\n", static_cast<double>(time) / static_cast<double>(kSecond), text);
  }
  void Add(uint64_t number) { hash_ = Mix(hash_ ^ number) + 0x9e3779b97f4a7c15; }

  bool aloud_;
  uint64_t hash_ = 0;
  uint64_t lines_ = 0;
};

}  // namespace talweg::simulation
