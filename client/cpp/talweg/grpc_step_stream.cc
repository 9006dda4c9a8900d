// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/grpc_step_stream.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "client/cpp/talweg/grpc_connection.h"
#include "client/cpp/talweg/stream_frames.h"
#include "client/cpp/talweg/told.h"
#include "core/base/checksum.h"

namespace talweg {
namespace {

// Memory of chunks on their way out, used over and over. Thread-safe: gRPC gives it back when and
// where it likes.
class ChunkMemory : public std::enable_shared_from_this<ChunkMemory> {
 public:
  explicit ChunkMemory(size_t size) : size_(size) {}

  // `size` bytes at most `size_`; they come back when the last copy of the slice is gone.
  grpc::Slice Take(size_t size) {
    auto* lease = new Lease{shared_from_this(), nullptr};
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!free_.empty()) {
        lease->bytes = std::move(free_.back());
        free_.pop_back();
      }
    }
    if (lease->bytes == nullptr) lease->bytes = std::unique_ptr<char[]>(new char[size_]);
    return grpc::Slice(lease->bytes.get(), size, &GiveBack, lease);
  }

 private:
  struct Lease {
    std::shared_ptr<ChunkMemory> memory;
    std::unique_ptr<char[]> bytes;
  };

  static void GiveBack(void* data) {
    const std::unique_ptr<Lease> lease(static_cast<Lease*>(data));
    const std::lock_guard<std::mutex> lock(lease->memory->mutex_);
    lease->memory->free_.push_back(std::move(lease->bytes));
  }

  const size_t size_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<char[]>> free_;  // guarded by mutex_
};

constexpr size_t kChunkMemoryBytes = size_t{4} << 20;  // of the largest chunk

// Its messages are gRPC's slices: numbers are copied once, between them and the caller.
class GrpcStepStream final : public StepStream {
 public:
  explicit GrpcStepStream(std::shared_ptr<GrpcConnection> connection)
      : connection_(std::move(connection)), stub_(connection_->channel) {
    call_ = stub_.PrepareCall(&context_, "/talweg.v1.TrainingService/StreamStep", &queue_);
    call_->StartCall(TagOf(kStart));
  }
  ~GrpcStepStream() override {
    context_.TryCancel();
    Empty(queue_);
  }

  void Write(const v1::StreamStepRequest& frame) override {
    const grpc::Slice bytes(frame.SerializeAsString());
    Send(grpc::ByteBuffer(&bytes, 1));
  }
  void WriteChunk(const ChunkHead& head, absl::FunctionRef<void(char* bytes)> fill) override {
    const grpc::Slice data = memory_->Take(head.num_bytes);
    char* const bytes = reinterpret_cast<char*>(const_cast<uint8_t*>(data.begin()));
    fill(bytes);
    std::vector<grpc::Slice> slices = {grpc::Slice(BytesBeforeData(head)), data};
    if (head.checksum) {
      slices.emplace_back(BytesAfterData(core::Crc32c(absl::string_view(bytes, head.num_bytes))));
    }
    Send(grpc::ByteBuffer(slices.data(), slices.size()));
  }

  StreamEvent Next(absl::Duration timeout) override {
    // gRPC rounds a deadline up to its next millisecond and waits for that. Only a deadline in the
    // past makes it look and not wait.
    const auto deadline = timeout > absl::ZeroDuration() ? absl::ToChronoTime(absl::Now() + timeout)
                                                         : std::chrono::system_clock::time_point();
    for (;;) {
      if (started_ && !reading_ && !ending_) {
        call_->Read(&message_, TagOf(kRead));
        reading_ = true;
      }
      void* tag = nullptr;
      bool ok = false;
      if (queue_.AsyncNext(&tag, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT) {
        return {StreamEvent::Kind::kTimeout, NothingMoved(timeout)};
      }
      switch (OperationOf(tag)) {
        case kStart:
          // A call that could not begin is at its end, which says why.
          started_ = true;
          if (first_message_.Valid()) call_->Write(first_message_, TagOf(kWrite));
          break;
        case kWrite:
          // A write that failed is followed by the end of the stream, which says why.
          if (ok) return {StreamEvent::Kind::kWritten, {}};
          break;
        case kRead:
          reading_ = false;
          if (ok) return TakeMessage();
          ending_ = true;
          call_->Finish(&status_, TagOf(kFinish));
          break;
        case kFinish:
          return {StreamEvent::Kind::kEnded, FromGrpc(status_)};
      }
    }
  }

  const v1::StreamStepResponse& frame() const override { return frame_; }
  size_t data_size() const override { return data_.size; }
  void CopyData(char* bytes) const override {
    size_t skip = data_.offset;
    size_t left = data_.size;
    for (const grpc::Slice& slice : slices_) {
      if (skip >= slice.size()) {
        skip -= slice.size();
        continue;
      }
      const size_t size = std::min(slice.size() - skip, left);
      std::memcpy(bytes, slice.begin() + skip, size);
      bytes += size;
      left -= size;
      skip = 0;
      if (left == 0) return;
    }
  }

 private:
  // A call takes no message before it has begun.
  void Send(const grpc::ByteBuffer& message) {
    if (started_) {
      call_->Write(message, TagOf(kWrite));
    } else {
      first_message_ = message;
    }
  }

  StreamEvent TakeMessage() {
    grpc::ProtoBufferReader reader(&message_);
    slices_.clear();
    if (!reader.status().ok() || !ReadFrame(reader, frame_, data_) ||
        !message_.Dump(&slices_).ok()) {
      return {StreamEvent::Kind::kEnded, absl::InternalError("a frame of the server is malformed")};
    }
    return {StreamEvent::Kind::kFrame, {}};
  }

  const std::shared_ptr<GrpcConnection> connection_;
  const std::shared_ptr<ChunkMemory> memory_ = std::make_shared<ChunkMemory>(kChunkMemoryBytes);
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  bool started_ = false;
  bool reading_ = false;
  bool ending_ = false;
  grpc::Status status_;
  grpc::ByteBuffer first_message_;  // that waits for the call to begin
  grpc::ByteBuffer message_;
  std::vector<grpc::Slice> slices_;  // of the last message
  v1::StreamStepResponse frame_;     // likewise, without its data
  DataPosition data_;
};

}  // namespace

std::unique_ptr<StepStream> OpenGrpcStepStream(std::shared_ptr<GrpcConnection> connection) {
  return std::make_unique<GrpcStepStream>(std::move(connection));
}

}  // namespace talweg
