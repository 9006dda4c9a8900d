// SPDX-License-Identifier: Apache-2.0
#include "client/cli/open_round_watch.h"

#include <utility>

namespace talweg {

bool OpenRoundWatch::ShouldAsk(absl::Time now) {
  if (now - last_step_ < kAskAfter || now - last_question_ < kAskAfter) return false;
  last_question_ = now;
  return true;
}

bool OpenRoundWatch::IsNews(v1::OpenRound round) {
  round.clear_open_seconds();
  round.clear_frozen_seconds();
  if (round.has_closes_in_seconds()) round.set_closes_in_seconds(0);
  std::string news = round.SerializeAsString();
  if (news == last_news_) return false;
  last_news_ = std::move(news);
  return true;
}

}  // namespace talweg
