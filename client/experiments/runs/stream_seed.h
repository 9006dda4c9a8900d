// SPDX-License-Identifier: Apache-2.0
//
// Seeds for workers that draw at random, each in its own process or thread.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace talweg {

// The seed of what `worker` draws in its `life`-th process, counted from 0. Every worker has a
// stream of its own, and no stream is begun twice.
uint64_t StreamSeed(uint64_t seed, absl::string_view worker, uint64_t life);

}  // namespace talweg
