// SPDX-License-Identifier: Apache-2.0
//
// The wire as a stranger sees it: generated stubs, without retries and with nothing added. For
// tests and benchmarks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "grpcpp/grpcpp.h"
#include "talweg/v1/session_service.grpc.pb.h"
#include "talweg/v1/training_service.grpc.pb.h"

namespace talweg::testing {

// What an error tells, taken apart.
struct WireError {
  grpc::StatusCode code = grpc::StatusCode::OK;
  std::string reason;
  std::string domain;
  std::string field;
  std::string message;
  google::rpc::ErrorInfo info;
  bool has_retry_info = false;
  bool has_quota_failure = false;
};
WireError ErrorOf(const grpc::Status& status);

// A request for a session of one vector "w" with `num_elements` zeros, under `method`
// ("gradient_descent", "momentum", "adam") with rate 0.5.
v1::CreateSessionRequest VectorSession(const std::string& session_id, uint64_t num_elements,
                                       const std::string& method = "gradient_descent");

// Float32 numbers as the bytes of a section, and back.
std::string Bytes(const std::vector<float>& values);
std::vector<float> Floats(const std::string& bytes);

// The elements of `gradient` as chunks of `chunk_elements` each; the last chunk has what is left.
std::vector<v1::StreamStepRequest> ChunksOf(const std::vector<float>& gradient,
                                            uint64_t chunk_elements,
                                            v1::Dtype dtype = v1::DTYPE_UNSPECIFIED,
                                            bool checksums = false);

// A whole contribution of the worker "a".
v1::StepRequest StepOf(const std::string& session_id, const v1::JoinResponse& joined,
                       uint64_t sequence, uint64_t base_version,
                       const std::vector<float>& gradient);

// A heartbeat or a leave of `worker`, with the place that it was given.
template <class Request>
Request PlaceRequest(const std::string& session_id, const v1::JoinResponse& joined,
                     const std::string& worker) {
  Request request;
  request.set_session_id(session_id);
  request.set_worker(worker);
  request.set_history(joined.history());
  request.set_incarnation(joined.incarnation());
  return request;
}

// A StreamStep call, for one thread.
class WireStream {
 public:
  explicit WireStream(v1::TrainingService::Stub& training);
  // Cancels the call unless it was finished.
  ~WireStream();

  // Returns false if the stream is over; Finish tells why.
  bool Write(const v1::StreamStepRequest& frame) {
    if (frame.has_header()) abstains_ = frame.header().header().abstain();
    return stream_->Write(frame);
  }
  // Writes a header with the fields of `request`.
  bool WriteHeader(const v1::StepRequest& request);
  bool WriteCommit();
  bool Read(v1::StreamStepResponse* frame) { return stream_->Read(frame); }
  // Reads a grant. Must not be called if the grant came already (granted()).
  bool ReadGrant();
  // Reads up to the trailer. Its response gets the data as one section, as Step has it. Chunks must
  // follow each other, and checksums, if chunks have them, must be right. A grant may come between.
  bool ReadReply(v1::StepResponse* response);
  // Sends a whole contribution and reads its answer. Waits for its grant if that did not come yet.
  bool Step(const v1::StepRequest& request, const std::vector<v1::StreamStepRequest>& chunks,
            v1::StepResponse* response);
  // Half-closes and reads what is left.
  grpc::Status Finish();
  void Cancel() { context_.TryCancel(); }

  bool granted() const { return granted_; }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::StreamStepRequest, v1::StreamStepResponse>> stream_;
  bool granted_ = false;   // for the contribution that comes next
  bool abstains_ = false;  // the contribution under way
  bool finished_ = false;
};

// The request that opens an upload: `request` without its initial values.
v1::CreateSessionRequest UploadOf(v1::CreateSessionRequest request);

// An UploadSession call, for one thread.
class WireUpload {
 public:
  // Sends the create.
  WireUpload(v1::SessionService::Stub& sessions, const v1::CreateSessionRequest& create);
  // Cancels the call unless it was finished.
  ~WireUpload();

  // Reads the next frame. Returns the element that a grant names; nothing if the stream is over, or
  // if the frame is the session (created()).
  std::optional<uint64_t> ReadGrant();
  // These return false if the stream is over; Finish tells why.
  bool WriteChunk(uint64_t begin_element, v1::Dtype dtype, const std::string& data,
                  bool checksum = true);
  // Elements [begin, end) of `values`, in chunks of 1 MiB.
  bool WriteValues(const std::vector<float>& values, uint64_t begin, uint64_t end);
  bool WriteCommit(std::optional<uint32_t> crc32c = std::nullopt);
  bool Write(const v1::UploadSessionRequest& frame) { return stream_->Write(frame); }
  // Reads until the stream is over, without half-closing.
  grpc::Status Finish();

  // The session, if it came.
  const std::optional<v1::Session>& created() const { return created_; }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::UploadSessionRequest, v1::UploadSessionResponse>>
      stream_;
  std::optional<v1::Session> created_;
  bool finished_ = false;
};

// A connection with the generated stubs of both services. Thread-safe.
class WireClient {
 public:
  explicit WireClient(const std::string& address);

  grpc::Status Create(const v1::CreateSessionRequest& request,
                      v1::CreateSessionResponse* response = nullptr);
  // The session with its checksum. Fails the calling test if the session is not there.
  v1::Session Get(const std::string& session_id);
  uint32_t Checksum(const std::string& session_id) { return Get(session_id).state_checksum(); }
  v1::JoinResponse Join(const std::string& session_id, const std::string& worker = "a");
  grpc::Status Step(const v1::StepRequest& request, v1::StepResponse* response = nullptr);
  // Pulls all elements of a version, and writes the version to `version` if it is not null.
  grpc::Status Pull(const v1::PullRequest& request, std::vector<float>* values,
                    uint64_t* version = nullptr);

  v1::SessionService::Stub& sessions() { return *sessions_; }
  v1::TrainingService::Stub& training() { return *training_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // Calls any method that has one message each way; for services whose stubs are not installed.
  grpc::Status RawCall(const std::string& method, const std::string& request,
                       std::string* response);

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::SessionService::Stub> sessions_;
  std::unique_ptr<v1::TrainingService::Stub> training_;
};

}  // namespace talweg::testing
