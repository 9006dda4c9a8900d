// SPDX-License-Identifier: Apache-2.0
//
// For tests: a stream of contributions to a FakeServer, which breaks on demand.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client/cpp/talweg/fake_server.h"
#include "client/cpp/talweg/step_stream.h"
#include "core/base/checksum.h"

namespace talweg {

// A stream as the server answers it. What was written has gone out at once. Frames wait until they
// are taken; a written frame is told before them, so that both directions overlap.
class FakeStepStream final : public StepStream {
 public:
  explicit FakeStepStream(std::shared_ptr<FakeServer> server) : server_(std::move(server)) {
    const std::lock_guard<std::mutex> lock(server_->mutex);
    Trace("open");
  }

  void Write(const v1::StreamStepRequest& frame) override {
    const std::lock_guard<std::mutex> lock(server_->mutex);
    written_ = true;
    if (ended_) return;
    if (frame.has_header()) {
      header_ = frame.header();
      server_->stream_headers.push_back(header_);
      Trace("header ", header_.header().sequence());
      gradient_.clear();
      num_looks_ = 0;
      fault_ = StreamFault::kNone;
      if (!server_->stream_faults.empty()) {
        fault_ = server_->stream_faults.front();
        server_->stream_faults.pop_front();
      }
      if (fault_ == StreamFault::kBeforeGrant) return Break();
      if (!granted_) SendGrant();
    } else {
      Trace("commit ", header_.header().sequence());
      if (fault_ == StreamFault::kLoseCommit) return Break();
      Answer();
    }
  }

  void WriteChunk(const ChunkHead& head, absl::FunctionRef<void(char* bytes)> fill) override {
    std::vector<char> bytes(head.num_bytes);
    fill(bytes.data());
    const std::lock_guard<std::mutex> lock(server_->mutex);
    written_ = true;
    if (ended_) return;
    Trace("chunk ", header_.header().sequence());
    server_->chunk_kinds.push_back(head.kind);
    if (!granted_ || head.begin_element != gradient_.size() ||
        head.checksum != header_.reply().checksums()) {
      return End(ServerError(absl::StatusCode::kInvalidArgument, "CHUNK_MISPLACED"));
    }
    if (fault_ == StreamFault::kCorruptChunk) {
      return End(ServerError(absl::StatusCode::kDataLoss, "CHUNK_CORRUPT"));
    }
    gradient_.resize(gradient_.size() + head.num_bytes / DtypeBytes(head.dtype));
    DecodeFloats(head.dtype, bytes.data(), absl::MakeSpan(gradient_).subspan(head.begin_element));
    if (fault_ == StreamFault::kMidChunks) Break();
  }

  StreamEvent Next(absl::Duration) override {
    const std::lock_guard<std::mutex> lock(server_->mutex);
    if (written_ && !ended_) {
      written_ = false;
      return {StreamEvent::Kind::kWritten, {}};
    }
    if (!frames_.empty()) {
      frame_ = frames_.front();
      frames_.pop_front();
      Trace(frame_.has_grant() ? "grant" : frame_.has_chunk() ? "data" : "trailer");
      data_.clear();
      if (frame_.has_chunk())
        data_.swap(*frame_.mutable_chunk()->mutable_section()->mutable_data());
      return {StreamEvent::Kind::kFrame, {}};
    }
    if (ended_) return {StreamEvent::Kind::kEnded, end_};
    if (waits_ && fault_ == StreamFault::kMidWait && ++num_looks_ == 20) Break();
    if (waits_ && !ended_ && !server_->StaysSilent([&] { server_->CloseRound(); })) Answer();
    return {StreamEvent::Kind::kTimeout, {}};
  }

  const v1::StreamStepResponse& frame() const override { return frame_; }
  size_t data_size() const override { return data_.size(); }
  void CopyData(char* bytes) const override { data_.copy(bytes, data_.size()); }

 private:
  void Trace(absl::string_view what, uint64_t sequence = 0) {
    server_->stream_trace.push_back(std::string(what) +
                                    (sequence != 0 ? std::to_string(sequence) : ""));
  }
  void End(const absl::Status& status) {
    ended_ = true;
    end_ = status;
  }
  void Break() { End(absl::UnavailableError("the stream broke")); }

  void SendGrant() {
    granted_ = true;
    frames_.emplace_back().mutable_grant()->set_num_elements(server_->parameters.size());
  }

  void Answer() {
    v1::Trailer trailer;
    const bool abstains = header_.header().abstain();
    if (gradient_.size() != (abstains ? 0 : server_->parameters.size())) {
      return End(ServerError(absl::StatusCode::kInvalidArgument, "SECTION_SIZE_MISMATCH"));
    }
    const absl::Status judged =
        Judge(*server_, header_.header(), gradient_, *trailer.mutable_response());
    if (!judged.ok()) return End(judged);
    if (fault_ == StreamFault::kBeforeData) return Break();
    const bool pending = trailer.response().verdict() == v1::VERDICT_PENDING;
    if (waits_ && !pending) trailer.mutable_response()->set_replayed(false);
    waits_ = pending && !header_.reply().return_pending() && !server_->answers_pending;
    if (waits_) return;
    if (fault_ == StreamFault::kHang) return;
    SendGrant();
    const v1::ReplyOptions& reply = header_.reply();
    const bool lookahead = reply.data() == v1::REPLY_DATA_LOOKAHEAD;
    uint32_t sum = 0;
    const size_t count = size_t{262144} * 4 / DtypeBytes(reply.dtype());
    for (size_t begin = 0;
         reply.data() != v1::REPLY_DATA_NONE && begin < server_->parameters.size();
         begin += count) {
      v1::Chunk& chunk = *frames_.emplace_back().mutable_chunk();
      *chunk.mutable_section() =
          SectionOf(*server_, lookahead ? v1::POINT_LOOKAHEAD : v1::POINT_PARAMETERS, reply.dtype(),
                    begin, count);
      std::string& data = *chunk.mutable_section()->mutable_data();
      sum = core::Crc32c(data, sum);
      if (reply.checksums()) chunk.set_crc32c(core::Crc32c(data));
      if (fault_ == StreamFault::kCorruptData && begin == count) data.front() ^= 1;
      if (fault_ == StreamFault::kMidData) return Break();
    }
    if (fault_ == StreamFault::kBeforeTrailer) return Break();
    if (reply.checksums()) {
      trailer.set_data_crc32c(fault_ == StreamFault::kCorruptSum ? ~sum : sum);
    }
    *frames_.emplace_back().mutable_trailer() = trailer;
  }

  const std::shared_ptr<FakeServer> server_;
  v1::StreamHeader header_;
  std::vector<float> gradient_;
  StreamFault fault_ = StreamFault::kNone;
  bool granted_ = false;
  bool waits_ = false;  // whether the contribution waits for others
  int num_looks_ = 0;   // how often it was looked at meanwhile
  bool written_ = false;
  bool ended_ = false;
  absl::Status end_;
  std::deque<v1::StreamStepResponse> frames_;  // on their way to the client
  v1::StreamStepResponse frame_;
  std::string data_;
};

}  // namespace talweg
