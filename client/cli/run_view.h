// SPDX-License-Identifier: Apache-2.0
//
// A run as a page for a terminal: the loss as a curve, and one line for everything else that is
// told. For the command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "client/cli/describe.h"
#include "client/terminal/chart.h"
#include "client/terminal/screen.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg {

// Thread-compatible. Time is handed in.
class RunView {
 public:
  // The most records that are kept. If more come, every second one goes.
  static constexpr size_t kMaxRecords = 8192;

  explicit RunView(std::string session_id) : session_id_(std::move(session_id)) {}

  // Adds the records of `message`. Messages come in the order of their versions.
  void Take(const v1::WatchSessionResponse& message, absl::Time now);

  // Shows what the session waits for until the next record comes; nothing is shown if `open` is
  // unset.
  void ShowRound(std::optional<OpenWork> open) { open_ = std::move(open); }

  // The page at `now`, in lines that fit `size`.
  std::vector<std::string> Page(TerminalSize size, absl::Time now) const;

  size_t num_records() const { return records_.size(); }

 private:
  std::string Headline(absl::Time now) const;
  std::vector<ChartPoint> Points(size_t column) const;

  const std::string session_id_;
  std::vector<v1::StepRecord> records_;
  absl::Time last_news_ = absl::InfinitePast();  // when the newest record came here
  std::optional<OpenWork> open_;                 // what the session waits for since last_news_
};

}  // namespace talweg
