// SPDX-License-Identifier: Apache-2.0
//
// What a member of a session does in it: a set of roles.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace talweg::core {

enum class Role : uint8_t {
  kGradient,    // It contributes gradients, and rounds expect it to.
  kStatistics,  // It contributes statistics.
  kSearch,      // It evaluates perturbations.
};

// A set. A value.
class Roles {
 public:
  constexpr Roles() = default;
  constexpr Roles(std::initializer_list<Role> roles) {
    for (const Role role : roles) bits_ |= Bit(role);
  }

  constexpr void Add(Role role) { bits_ |= Bit(role); }
  constexpr bool Has(Role role) const { return (bits_ & Bit(role)) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  friend constexpr bool operator==(Roles, Roles) = default;

  // As a byte of a saved state, and back. A byte that names an unknown role is not valid.
  constexpr uint8_t bits() const { return bits_; }
  static constexpr bool AreValidBits(uint8_t bits) { return (bits & ~kAllBits) == 0; }
  static constexpr Roles FromBits(uint8_t bits) {
    Roles roles;
    roles.bits_ = bits & kAllBits;
    return roles;
  }

 private:
  static constexpr uint8_t Bit(Role role) {
    return static_cast<uint8_t>(1u << static_cast<uint8_t>(role));
  }
  static constexpr uint8_t kAllBits = 7;

  uint8_t bits_ = 0;
};

}  // namespace talweg::core
