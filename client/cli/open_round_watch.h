// SPDX-License-Identifier: Apache-2.0
//
// When to ask whom the open round of a watched session waits for, and when to tell the answer.
#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "client/cli/describe.h"

namespace talweg {

// Thread-compatible. Time is handed in.
class OpenRoundWatch {
 public:
  // The silence after which a reader wants to know what the session waits for.
  static constexpr absl::Duration kAskAfter = absl::Seconds(1);

  explicit OpenRoundWatch(absl::Time begun) : last_step_(begun) {}

  void StepTaken(absl::Time now) { last_step_ = now; }

  // Whether to ask the server now, which then counts as asked: no step was taken for kAskAfter, and
  // no question was asked for as long.
  bool ShouldAsk(absl::Time now);

  // Whether `open` has something else to tell than the round that was news last. Time that has
  // passed is no news.
  bool IsNews(OpenWork open);

 private:
  absl::Time last_step_;
  absl::Time last_question_ = absl::InfinitePast();
  std::optional<std::string> last_news_;  // a round without its times, as bytes
};

}  // namespace talweg
