// SPDX-License-Identifier: Apache-2.0
//
// Published definitions of a method differ; a dialect says which of them is meant.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace talweg::core {

enum class Dialect { kTorch, kKeras, kPaper, kTutorial, kFederated };

// Name on the wire, without the enumeration's prefix: "TORCH".
absl::string_view DialectName(Dialect dialect);
std::optional<Dialect> DialectFromName(absl::string_view name);

// The dialects that a method speaks.
class DialectSet {
 public:
  constexpr DialectSet(std::initializer_list<Dialect> dialects) {
    for (const Dialect dialect : dialects) mask_ |= 1u << static_cast<uint32_t>(dialect);
  }
  constexpr bool Contains(Dialect dialect) const {
    return (mask_ >> static_cast<uint32_t>(dialect) & 1u) != 0;
  }
  // "TORCH, KERAS or PAPER".
  std::string Text() const;

 private:
  uint32_t mask_ = 0;
};

}  // namespace talweg::core
