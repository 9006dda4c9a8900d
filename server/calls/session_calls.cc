// SPDX-License-Identifier: Apache-2.0
#include "server/calls/session_calls.h"

#include "absl/strings/str_cat.h"

namespace talweg::server {

absl::Status AskAgain(const absl::Status& why) {
  return absl::UnavailableError(
      absl::StrCat("the contribution was judged, ask for its answer again: ", why.message()));
}

}  // namespace talweg::server
