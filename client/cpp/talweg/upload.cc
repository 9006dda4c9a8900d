// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/upload.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/dtype.h"
#include "client/cpp/talweg/status.h"
#include "core/base/checksum.h"

namespace talweg {
namespace {

constexpr uint64_t kChunkBytes = uint64_t{1} << 20;

// An upload through all its attempts.
class Uploader {
 public:
  Uploader(const v1::CreateSessionRequest& create, const UploadSource& source,
           const ProgressCallback& progress)
      : create_(create), source_(source), progress_(progress) {}

  absl::Status Attempt(Transport& transport, absl::Duration timeout) {
    committed_ = false;
    absl::Status attempt = transport.UploadSession(
        create_, [&](const v1::UploadGrant& grant) { return TakeGrant(grant); },
        [&](v1::UploadSessionRequest& frame) { return MakeFrame(frame); }, created_, timeout);
    // Both pass: the upload begins anew, or the other stream brings it to its end.
    const std::string reason = ReasonOf(attempt);
    if (reason == "UPLOAD_EXPIRED" || reason == "UPLOAD_TAKEN_OVER") {
      return absl::UnavailableError(attempt.message());
    }
    return attempt;
  }

  v1::CreateSessionResponse& created() { return created_; }
  const uint64_t& farthest() const { return farthest_; }

 private:
  absl::Status TakeGrant(const v1::UploadGrant& grant) {
    if (grant.num_elements() != source_.num_elements) {
      return absl::InvalidArgumentError(absl::StrCat("the layout has ", grant.num_elements(),
                                                     " elements, the initial values are ",
                                                     source_.num_elements));
    }
    if (grant.begin_element() > source_.num_elements) {
      return absl::InternalError("the server asks for values behind the last one");
    }
    next_ = grant.begin_element();
    return absl::OkStatus();
  }

  // The next chunk, or the commit behind the last one; false behind the commit.
  bool MakeFrame(v1::UploadSessionRequest& frame) {
    if (committed_) return false;
    if (next_ == source_.num_elements) {
      while (num_summed_ < source_.num_elements) {
        std::string bytes;
        const uint64_t count = CountFrom(num_summed_);
        Fill(num_summed_, count, bytes);
        Sum(num_summed_, count, bytes);
      }
      frame.mutable_commit()->set_crc32c(crc32c_);
      committed_ = true;
      return true;
    }
    const uint64_t count = CountFrom(next_);
    v1::Chunk& chunk = *frame.mutable_chunk();
    v1::Section& section = *chunk.mutable_section();
    section.set_kind(v1::SECTION_KIND_PARAMETERS);
    section.set_dtype(source_.dtype);
    section.set_begin_element(next_);
    Fill(next_, count, *section.mutable_data());
    chunk.set_crc32c(core::Crc32c(section.data()));
    Sum(next_, count, section.data());
    next_ += count;
    farthest_ = std::max(farthest_, next_);
    const uint64_t element_bytes = DtypeBytes(source_.dtype);
    if (progress_) progress_(next_ * element_bytes, source_.num_elements * element_bytes);
    return true;
  }

  uint64_t CountFrom(uint64_t begin) const {
    return std::min(kChunkBytes / DtypeBytes(source_.dtype), source_.num_elements - begin);
  }
  void Fill(uint64_t begin, uint64_t count, std::string& bytes) const {
    bytes.resize(count * DtypeBytes(source_.dtype));
    source_.fill(begin, count, bytes.data());
  }
  // Adds elements to the checksum of the whole, if they come next there.
  void Sum(uint64_t begin, uint64_t count, const std::string& bytes) {
    if (begin != num_summed_) return;
    values_.resize(count);
    DecodeFloats(source_.dtype, bytes.data(), absl::MakeSpan(values_));
    crc32c_ = core::Crc32c(absl::MakeConstSpan(values_), crc32c_);
    num_summed_ += count;
  }

  const v1::CreateSessionRequest& create_;
  const UploadSource& source_;
  const ProgressCallback& progress_;
  v1::CreateSessionResponse created_;
  uint64_t next_ = 0;  // element to send, in this attempt
  bool committed_ = false;
  uint64_t farthest_ = 0;  // element, of all attempts
  // The checksum of the first elements, as float32. A stream may begin in the middle.
  uint64_t num_summed_ = 0;
  uint32_t crc32c_ = 0;
  std::vector<float> values_;
};

}  // namespace

absl::StatusOr<v1::Session> UploadSession(Transport& transport, const RetryOptions& retry,
                                          const v1::CreateSessionRequest& create,
                                          const UploadSource& source,
                                          const ProgressCallback& progress) {
  Uploader uploader(create, source, progress);
  const absl::Status status = Retry(
      retry, transport,
      [&](absl::Duration timeout) { return uploader.Attempt(transport, timeout); }, nullptr,
      &uploader.farthest());
  if (!status.ok()) return status;
  return std::move(*uploader.created().mutable_session());
}

}  // namespace talweg
