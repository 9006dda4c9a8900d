// SPDX-License-Identifier: Apache-2.0
//
// Contributions over StreamStep, one attempt each: a header, chunks once they are granted, a
// commit; back come data frames, straight into the caller's memory, and the trailer that makes them
// valid. One thread moves both directions as the stream allows.
//
//   queue, oldest first:   [being answered]  [being uploaded]  …
//
// Only the oldest is ever committed: the next one's chunks go out while its data come in, its
// commit waits for its trailer. So at most one contribution can have been judged without our
// knowing, and that is the one whose answer the server remembers.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/options.h"
#include "client/cpp/talweg/retry.h"
#include "client/cpp/talweg/step_stream.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg {

class Transport;

// A contribution on its way. Borrows both spans.
struct Contribution {
  v1::StreamHeader header;
  absl::Span<const float> gradient;
  absl::Span<float> parameters;  // where the answer's data go; empty: none were asked for
  StepOptions options;
  bool waits = false;  // its answer may wait for other workers: silence is no failure then

  std::optional<v1::StepResponse> answer;  // set by the trailer, or by an unary call
  uint64_t farthest_bytes = 0;             // both ways, of the attempt that came farthest
  uint64_t num_waits = 0;  // silences for others so long that the server was there meanwhile

  // Of this attempt, in elements; a data frame that does not fit its checksum ends `good`.
  uint64_t num_sent = 0;
  uint64_t num_received = 0;
  uint64_t num_good = 0;
  uint32_t data_crc32c = 0;
  bool opened = false;
  bool committed = false;
};

// One thread.
class ContributionStream {
 public:
  // For sessions of any size; opens nothing yet. Waits for a grant as long as `grant_timeout`: an
  // attempt that gave up would stand at the end of the server's line again.
  ContributionStream(Transport& transport, absl::Duration grant_timeout)
      : transport_(transport), grant_timeout_(grant_timeout) {}

  // Goes on with `contributions` (oldest first, those that are answered passed over) until
  // `reached` says so; opens the stream where there is none. Fails as the server said, with
  // UNAVAILABLE where the stream broke, or with DEADLINE_EXCEEDED where nothing moved for
  // `timeout` (but for the waits for a grant and for other workers); after a failure the stream is
  // gone, and the next Run begins every contribution anew.
  absl::Status Run(const std::vector<Contribution*>& contributions, absl::Duration timeout,
                   const RoundWait& wait, absl::FunctionRef<bool()> reached);

  // Forgets the stream.
  void Close();

 private:
  absl::Status Advance(absl::Duration timeout, const RoundWait& wait,
                       absl::FunctionRef<bool()> reached);
  // Whether the oldest contribution is committed, may wait for other workers, and nothing of its
  // answer has come.
  bool WaitsForOthers() const;
  void EnsureOpen();
  // Begins the next write, if there is one that may be made.
  void WriteNext();
  absl::Status TakeFrame();
  absl::Status TakeGrant(const v1::Grant& grant);
  absl::Status TakeData(const v1::Chunk& chunk);
  absl::Status TakeTrailer(const v1::Trailer& trailer);

  Transport& transport_;
  const absl::Duration grant_timeout_;
  std::unique_ptr<StepStream> stream_;
  std::deque<Contribution*> queue_;  // not answered, oldest first
  bool writing_ = false;
  bool granted_ = false;       // for the contribution that is uploaded now, or next
  std::vector<char> scratch_;  // a data frame that is no float32
};

}  // namespace talweg
