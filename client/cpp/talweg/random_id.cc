// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/random_id.h"

#include <random>

#include "absl/strings/str_format.h"

namespace talweg {

std::string RandomId() {
  std::random_device random;
  std::string id;
  for (int word = 0; word < 4; ++word) absl::StrAppendFormat(&id, "%08x", random());
  return id;
}

}  // namespace talweg
