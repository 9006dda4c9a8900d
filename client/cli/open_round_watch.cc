// SPDX-License-Identifier: Apache-2.0
#include "client/cli/open_round_watch.h"

#include <utility>

namespace talweg {

bool OpenRoundWatch::ShouldAsk(absl::Time now) {
  if (now - last_step_ < kAskAfter || now - last_question_ < kAskAfter) return false;
  last_question_ = now;
  return true;
}

bool OpenRoundWatch::IsNews(OpenWork open) {
  if (auto* round = std::get_if<v1::OpenRound>(&open)) round->clear_frozen_seconds();
  std::string news = std::visit(
      [](auto& work) {
        work.clear_open_seconds();
        if (work.has_closes_in_seconds()) work.set_closes_in_seconds(0);
        return work.SerializeAsString();
      },
      open);
  if (news == last_news_) return false;
  last_news_ = std::move(news);
  return true;
}

}  // namespace talweg
