// SPDX-License-Identifier: Apache-2.0
//
// Contributions over StreamStep, one attempt each. A header goes out, then chunks once they are
// granted, then a commit. Data frames come back, straight into the caller's memory, and then the
// trailer that makes them valid. One thread moves both directions as the stream allows.
//
//   queue, oldest first:   [being answered]  [being uploaded]  …
//
// Only the oldest contribution is ever committed. The chunks of the next one go out while the data
// of the oldest come in, but the next commit waits for the trailer of the oldest. So at most one
// contribution can have been judged without our knowing, and its answer is the one that the server
// remembers.
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

// A contribution on its way. Borrows its numbers.
struct Contribution {
  v1::StreamHeader header;
  absl::Span<const float> gradient;
  StatisticsVector statistics;   // beside the gradient; empty: there are none
  absl::Span<float> parameters;  // receives the answer's data; empty: none were asked for
  StepOptions options;
  bool waits = false;  // the answer may wait for other workers: silence is no failure then

  std::optional<v1::StepResponse> answer;  // set by the trailer, or by a unary call
  uint64_t farthest_bytes = 0;             // both ways together, of the best attempt so far
  // Silences, while other workers were waited for, that were so long that the server must be there.
  uint64_t num_waits = 0;

  // Of this attempt, in elements. `num_good` grows up to the first data frame that does not fit its
  // checksum.
  uint64_t num_sent = 0;  // of the gradient
  uint64_t num_statistics_sent = 0;
  uint64_t num_received = 0;
  uint64_t num_good = 0;
  uint32_t data_crc32c = 0;
  bool opened = false;
  bool committed = false;
};

// One thread.
class ContributionStream {
 public:
  // Opens nothing yet. Later waits for a grant as long as `grant_timeout`: an attempt that gave up
  // earlier would stand at the end of the server's queue again.
  ContributionStream(Transport& transport, absl::Duration grant_timeout)
      : transport_(transport), grant_timeout_(grant_timeout) {}

  // Goes on with `contributions` (oldest first; answered ones are passed over) until `reached`
  // returns true. Opens the stream if there is none. Fails as the server said, with UNAVAILABLE if
  // the stream broke, or with DEADLINE_EXCEEDED if nothing moved for `timeout` (waits for a grant
  // and for other workers excepted). After a failure the stream is gone, and the next Run begins
  // every contribution anew.
  absl::Status Run(const std::vector<Contribution*>& contributions, absl::Duration timeout,
                   const RoundWait& wait, absl::FunctionRef<bool()> reached);

  // Ends the stream, if there is one.
  void Close();

 private:
  absl::Status Advance(absl::Duration timeout, const RoundWait& wait,
                       absl::FunctionRef<bool()> reached);
  // Whether the oldest contribution is committed and may wait for other workers, and nothing of its
  // answer has come yet.
  bool WaitsForOthers() const;
  void EnsureOpen();
  // Begins the next write, if one may be made now.
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
  bool granted_ = false;       // to the contribution that is uploaded now, or next
  std::vector<char> scratch_;  // a data frame whose numbers are not float32
};

}  // namespace talweg
