// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/contribution_stream.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/dtype.h"
#include "client/cpp/talweg/told.h"
#include "client/cpp/talweg/transport.h"
#include "core/base/checksum.h"

namespace talweg {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;
constexpr absl::Duration kLookEvery = absl::Milliseconds(100);  // while others are waited for

void BeginAttempt(Contribution& contribution) {
  contribution.num_sent = contribution.num_received = contribution.num_good = 0;
  contribution.num_statistics_sent = 0;
  contribution.data_crc32c = 0;
  contribution.opened = contribution.committed = false;
}

void NoteProgress(Contribution& contribution) {
  const StepOptions& options = contribution.options;
  const uint64_t up = DtypeBytes(options.gradient_dtype);
  const uint64_t down = DtypeBytes(options.reply_dtype);
  const uint64_t of_statistics = DtypeBytes(contribution.statistics.dtype());
  const uint64_t done = up * contribution.num_sent + down * contribution.num_received +
                        of_statistics * contribution.num_statistics_sent;
  contribution.farthest_bytes = std::max(contribution.farthest_bytes, done);
  if (options.progress) {
    options.progress(done, up * contribution.gradient.size() + contribution.statistics.bytes() +
                               down * contribution.parameters.size());
  }
}

// Whether `kind` is what a reply to `contribution` may hold.
bool IsAsked(const Contribution& contribution, v1::SectionKind kind) {
  return kind == v1::SECTION_KIND_PARAMETERS ||
         (contribution.options.point == v1::POINT_LOOKAHEAD && kind == v1::SECTION_KIND_LOOKAHEAD);
}

}  // namespace

absl::Status ContributionStream::Run(const std::vector<Contribution*>& contributions,
                                     absl::Duration timeout, const RoundWait& wait,
                                     absl::FunctionRef<bool()> reached) {
  EnsureOpen();
  for (Contribution* contribution : contributions) {
    const bool queued = std::find(queue_.begin(), queue_.end(), contribution) != queue_.end();
    if (queued || contribution->answer.has_value()) continue;
    BeginAttempt(*contribution);
    queue_.push_back(contribution);
  }
  absl::Status status = Advance(timeout, wait, reached);
  if (!status.ok()) Close();
  return status;
}

void ContributionStream::Close() {
  stream_.reset();
  for (Contribution* contribution : queue_) BeginAttempt(*contribution);
  queue_.clear();
  writing_ = granted_ = false;
}

void ContributionStream::EnsureOpen() {
  // A stream that ended while nothing was under way is opened again without a word.
  while (stream_ != nullptr && queue_.empty()) {
    const StreamEvent event = stream_->Next(absl::ZeroDuration());
    if (event.kind == StreamEvent::Kind::kTimeout) break;
    if (event.kind == StreamEvent::Kind::kEnded || !TakeFrame().ok()) Close();
  }
  if (stream_ == nullptr) stream_ = transport_.OpenStepStream();
}

bool ContributionStream::WaitsForOthers() const {
  return !queue_.empty() && queue_.front()->waits && queue_.front()->committed &&
         queue_.front()->num_received == 0;
}

absl::Status ContributionStream::Advance(absl::Duration timeout, const RoundWait& wait,
                                         absl::FunctionRef<bool()> reached) {
  absl::Duration waited;  // for a grant
  absl::Duration silent;  // since the last event, for others
  for (;;) {
    if (!writing_) WriteNext();
    if (!writing_ && reached()) return absl::OkStatus();
    const bool for_others = WaitsForOthers();
    const StreamEvent event = stream_->Next(for_others ? std::min(timeout, kLookEvery) : timeout);
    if (event.kind != StreamEvent::Kind::kTimeout) silent = absl::ZeroDuration();
    switch (event.kind) {
      case StreamEvent::Kind::kWritten:
        writing_ = false;
        break;
      case StreamEvent::Kind::kFrame: {
        absl::Status taken = TakeFrame();
        if (!taken.ok()) return taken;
        break;
      }
      case StreamEvent::Kind::kEnded:
        return event.status.ok() ? absl::UnavailableError("the stream ended early") : event.status;
      case StreamEvent::Kind::kTimeout:
        // Pings watch the connection in both waits.
        if (for_others && !wait.over()) {
          silent += kLookEvery;
          if (silent >= wait.attempt_timeout()) {
            ++queue_.front()->num_waits;
            silent = absl::ZeroDuration();
          }
          absl::Status look = wait.Look();
          if (!look.ok()) return look;
          break;
        }
        if (!writing_ && !granted_ && !queue_.front()->committed &&
            (waited += timeout) < grant_timeout_) {
          break;
        }
        return NothingMoved(timeout);
    }
  }
}

void ContributionStream::WriteNext() {
  const auto next = std::find_if(queue_.begin(), queue_.end(),
                                 [](const Contribution* c) { return !c->committed; });
  if (next == queue_.end()) return;
  Contribution& contribution = **next;
  v1::StreamStepRequest frame;
  if (!contribution.opened) {
    *frame.mutable_header() = contribution.header;
    stream_->Write(frame);
    contribution.opened = true;
  } else if (contribution.num_sent < contribution.gradient.size()) {
    if (!granted_) return;
    const v1::Dtype dtype = contribution.options.gradient_dtype;
    const size_t element_bytes = DtypeBytes(dtype);
    const absl::Span<const float> values =
        contribution.gradient.subspan(contribution.num_sent, kChunkBytes / element_bytes);
    stream_->WriteChunk({dtype, contribution.num_sent, values.size() * element_bytes,
                         contribution.options.checksums, KindOf(contribution.options)},
                        [&](char* bytes) { EncodeFloats(dtype, values, bytes); });
    contribution.num_sent += values.size();
    NoteProgress(contribution);
  } else if (contribution.num_statistics_sent < contribution.statistics.size()) {
    if (!granted_) return;
    const StatisticsVector& statistics = contribution.statistics;
    const size_t element_bytes = DtypeBytes(statistics.dtype());
    const uint64_t begin = contribution.num_statistics_sent;
    const uint64_t count =
        std::min<uint64_t>(statistics.size() - begin, kChunkBytes / element_bytes);
    stream_->WriteChunk({statistics.dtype(), begin, count * element_bytes,
                         contribution.options.checksums, v1::SECTION_KIND_STATISTICS},
                        [&](char* bytes) { statistics.Encode(begin, count, bytes); });
    contribution.num_statistics_sent += count;
    NoteProgress(contribution);
  } else {
    if (next != queue_.begin()) return;  // its turn comes with the trailer of the one before
    frame.mutable_commit();
    stream_->Write(frame);
    contribution.committed = true;
    granted_ = false;
  }
  writing_ = true;
}

absl::Status ContributionStream::TakeFrame() {
  const v1::StreamStepResponse& frame = stream_->frame();
  switch (frame.frame_case()) {
    case v1::StreamStepResponse::kGrant:
      return TakeGrant(frame.grant());
    case v1::StreamStepResponse::kChunk:
      return TakeData(frame.chunk());
    case v1::StreamStepResponse::kTrailer:
      return TakeTrailer(frame.trailer());
    case v1::StreamStepResponse::FRAME_NOT_SET:
      break;
  }
  return absl::InternalError("the server sent a frame that this client does not know");
}

absl::Status ContributionStream::TakeGrant(const v1::Grant& grant) {
  granted_ = true;
  const bool has_none = queue_.empty() || queue_.back()->options.abstain ||
                        queue_.back()->header.header().statistics().alone();
  if (has_none) return absl::OkStatus();
  const size_t size = queue_.back()->gradient.size();
  if (grant.num_elements() == size) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the session has ", grant.num_elements(), " elements, the gradient ", size));
}

absl::Status ContributionStream::TakeData(const v1::Chunk& chunk) {
  if (queue_.empty() || !queue_.front()->committed) {
    return absl::InternalError("the server sent data that nobody asked for");
  }
  Contribution& contribution = *queue_.front();
  const v1::Dtype dtype = contribution.options.reply_dtype;
  const size_t num_bytes = stream_->data_size();
  const size_t size = num_bytes / DtypeBytes(dtype);
  const v1::Section& section = chunk.section();
  if (section.begin_element() != contribution.num_received || section.dtype() != dtype ||
      !IsAsked(contribution, section.kind()) || num_bytes % DtypeBytes(dtype) != 0 ||
      size > contribution.parameters.size() - contribution.num_received) {
    return absl::InternalError(absl::StrCat("the server's data do not go on at element ",
                                            contribution.num_received, " of ",
                                            contribution.parameters.size()));
  }
  const absl::Span<float> values = contribution.parameters.subspan(contribution.num_received, size);
  char* bytes = reinterpret_cast<char*>(values.data());
  if (DtypeBytes(dtype) != sizeof(float)) {
    scratch_.resize(num_bytes);
    bytes = scratch_.data();
  }
  stream_->CopyData(bytes);
  const absl::string_view data(bytes, num_bytes);
  bool fits = true;
  if (contribution.options.checksums) {
    contribution.data_crc32c = core::Crc32c(data, contribution.data_crc32c);
    fits = !chunk.has_crc32c() || chunk.crc32c() == core::Crc32c(data);
  }
  if (DtypeBytes(dtype) != sizeof(float)) DecodeFloats(dtype, bytes, values);
  if (fits && contribution.num_good == contribution.num_received) contribution.num_good += size;
  contribution.num_received += size;
  NoteProgress(contribution);
  return absl::OkStatus();
}

absl::Status ContributionStream::TakeTrailer(const v1::Trailer& trailer) {
  if (queue_.empty() || !queue_.front()->committed) {
    return absl::InternalError("the server sent an answer that nobody waits for");
  }
  Contribution& contribution = *queue_.front();
  if (contribution.num_received != contribution.parameters.size()) {
    return absl::InternalError(absl::StrCat(
        "the server's reply to step ", trailer.response().applied_version(), " holds ",
        contribution.num_received, " of ", contribution.parameters.size(), " elements"));
  }
  const bool all_good = contribution.num_good == contribution.num_received;
  if (all_good && contribution.options.checksums && trailer.has_data_crc32c() &&
      trailer.data_crc32c() != contribution.data_crc32c) {
    contribution.num_good = 0;  // nobody knows which
  }
  contribution.answer = trailer.response();
  queue_.pop_front();
  return absl::OkStatus();
}

}  // namespace talweg
