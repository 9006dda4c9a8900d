// SPDX-License-Identifier: Apache-2.0
//
// What the answer to a contribution is to carry, as a value that was checked when it was made.
#pragma once

#include <cstdint>

#include "core/base/dtype.h"

namespace talweg::server {

struct ReplySpec {
  enum class Data {
    kNone,
    kParameters,
    kUpdate,     // what the step added; the parameters if the call took no step
    kLookahead,  // the parameters if the method has no other point
  };
  static constexpr uint64_t kDefaultMaxBytes = 4194304;  // of gRPC's clients

  Data data = Data::kParameters;
  core::Dtype dtype = core::Dtype::kFloat32;
  uint64_t max_bytes = kDefaultMaxBytes;  // of a reply in one message; not of a stream's
  bool checksums = false;                 // of a stream's chunks
  bool may_wait = true;                   // for other workers; else the verdict is kPending
};

}  // namespace talweg::server
