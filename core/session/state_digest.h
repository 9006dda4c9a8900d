// SPDX-License-Identifier: Apache-2.0
//
// The digest of a session's state: two runs that were given the same have the same digest, and
// anybody can check it with sha256sum.
//
//   the digest is the SHA-256 of this text, each line ended by \n:
//     talweg.state.v1
//     version 300
//     parameters float32 1000 <SHA-256>
//     beta1_product float64 1 <SHA-256>   every slot, scalar and average, in the order of names
//     m float32 1000 <SHA-256>
//   <SHA-256> is that of the numbers, little-endian, in 64 lower-case hexadecimal digits
//
// The version is a part of it because the learning rate, and what a method counts in steps, depend
// on it. Nothing that differs between two such runs is: no history, worker, incarnation or time.
// Nor are the configuration and the contributions of an open round, which are what a run is given.
// So sessions whose digests are equal make the same bits from the same contributions, if they have
// the same configuration.
//
// Cost: every byte of the parameters and the slots is read once; SHA-256 takes about 0.6 s per GB
// and thread on x86-64 with its own instructions, with one thread per vector, and a multiple of
// that without. tests/bench/digest_bench.cc measures what it adds to a step.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/base/sha256.h"
#include "core/session/parameters.h"
#include "core/session/stepper.h"
#include "core/session/work.h"

namespace talweg::core {

inline constexpr absl::string_view kStateDigestScheme = "talweg.state.v1";

// One vector of a state.
struct VectorDigest {
  std::string name;        // "parameters", or as StateVisitor names it
  absl::string_view type;  // "float32" or, for a scalar, "float64"
  uint64_t num_elements = 0;
  Sha256 sha256 = {};
};

struct StateDigest {
  uint64_t version = 0;
  std::vector<VectorDigest> vectors;  // in the order of the text
  Sha256 sha256 = {};
};

// The text whose SHA-256 is the digest.
std::string StateDigestText(const StateDigest& digest);

// Adds to `work` the stages that compute into `to` the digest of version `version`, whose
// parameters are `parameters`, and of the slots as they are when the stages before them have ended.
// In each stage one piece is up to 16 MiB of one vector. `stepper` outlives the work.
void AddDigestStages(uint64_t version, std::shared_ptr<const Parameters> parameters,
                     Stepper& stepper, std::shared_ptr<StateDigest> to, Work& work);

}  // namespace talweg::core
