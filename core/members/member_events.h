// SPDX-License-Identifier: Apache-2.0
//
// What may happen to a member, whatever the policy that makes versions: values. A policy's own list
// of events includes them.
#pragma once

#include <cstdint>
#include <string>

#include "core/members/roles.h"

namespace talweg::core {

// A worker comes. `incarnation` is new: larger than any issued before, for whatever session. It is
// issued for nothing if the join turns out to be a repeat.
struct Join {
  std::string worker;
  uint64_t incarnation = 0;
  Roles roles = {Role::kGradient};  // A policy expects only workers of a role that it needs.
  uint64_t nonce = 0;               // See NonceDigest. All attempts of one join have the same one.
};

// A worker lives.
struct Heartbeat {
  uint64_t history = 0;
  std::string worker;
  uint64_t incarnation = 0;
};

// A worker goes.
struct Leave {
  uint64_t history = 0;
  std::string worker;
  uint64_t incarnation = 0;
};

// A call that waited is over without its answer, because its connection broke.
struct CallEnded {
  std::string worker;
  uint64_t ticket = 0;
};

// What must survive a crash before anybody is told of it.

// A worker was admitted.
struct MemberAdmitted {
  std::string worker;
  uint64_t incarnation = 0;
  Roles roles;
  uint64_t nonce = 0;
};

}  // namespace talweg::core
