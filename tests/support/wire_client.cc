// SPDX-License-Identifier: Apache-2.0
#include "tests/support/wire_client.h"

#include <algorithm>
#include <cstring>

#include "core/base/checksum.h"
#include "core/base/dtype.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"

namespace talweg::testing {

WireError ErrorOf(const grpc::Status& status) {
  WireError error;
  error.code = status.error_code();
  error.message = status.error_message();
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return error;
  for (const google::protobuf::Any& detail : details.details()) {
    google::rpc::BadRequest request;
    google::rpc::PreconditionFailure failure;
    if (detail.UnpackTo(&error.info)) {
      error.reason = error.info.reason();
      error.domain = error.info.domain();
    } else if (detail.UnpackTo(&request)) {
      error.field = request.field_violations(0).field();
    } else if (detail.UnpackTo(&failure)) {
      error.field = failure.violations(0).subject();
    }
    error.has_retry_info |= detail.Is<google::rpc::RetryInfo>();
    error.has_quota_failure |= detail.Is<google::rpc::QuotaFailure>();
  }
  return error;
}

v1::CreateSessionRequest VectorSession(const std::string& session_id, uint64_t num_elements,
                                       const std::string& method) {
  v1::CreateSessionRequest request;
  request.set_session_id(session_id);
  request.set_request_id("request of " + session_id);
  v1::Tensor& tensor = *request.mutable_config()->mutable_layout()->add_tensors();
  tensor.set_name("w");
  tensor.add_shape(num_elements);
  v1::Optimizer& optimizer = *request.mutable_config()->mutable_optimizer();
  const auto* field = optimizer.GetDescriptor()->FindFieldByName(method);
  optimizer.GetReflection()->MutableMessage(&optimizer, field);
  request.mutable_config()->mutable_schedule()->set_learning_rate(0.5);
  v1::InitialValueRule& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
  rule.set_tensors("*");
  rule.mutable_constant();
  return request;
}

std::string Bytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::vector<float> Floats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

v1::StepRequest StepOf(const std::string& session_id, const v1::JoinResponse& joined,
                       uint64_t sequence, uint64_t base_version,
                       const std::vector<float>& gradient) {
  v1::StepRequest request;
  v1::ContributionHeader& header = *request.mutable_header();
  header.set_session_id(session_id);
  header.set_history(joined.history());
  header.set_worker("a");
  header.set_incarnation(joined.incarnation());
  header.set_sequence(sequence);
  header.set_base_version(base_version);
  v1::Section& section = *request.add_sections();
  section.set_kind(v1::SECTION_KIND_GRADIENT);
  section.set_data(Bytes(gradient));
  return request;
}

std::vector<v1::StreamStepRequest> ChunksOf(const std::vector<float>& gradient,
                                            uint64_t chunk_elements, v1::Dtype dtype,
                                            bool checksums) {
  const core::Dtype coded = dtype == v1::DTYPE_BFLOAT16  ? core::Dtype::kBfloat16
                            : dtype == v1::DTYPE_FLOAT16 ? core::Dtype::kFloat16
                                                         : core::Dtype::kFloat32;
  std::vector<v1::StreamStepRequest> chunks;
  for (uint64_t begin = 0; begin < gradient.size(); begin += chunk_elements) {
    const uint64_t count = std::min<uint64_t>(chunk_elements, gradient.size() - begin);
    v1::Chunk& chunk = *chunks.emplace_back().mutable_chunk();
    v1::Section& section = *chunk.mutable_section();
    section.set_kind(v1::SECTION_KIND_GRADIENT);
    section.set_dtype(dtype);
    section.set_begin_element(begin);
    section.mutable_data()->resize(count * core::DtypeBytes(coded));
    core::FromFloat32(coded, absl::MakeConstSpan(gradient).subspan(begin, count),
                      section.mutable_data()->data());
    if (checksums) chunk.set_crc32c(core::Crc32c(section.data()));
  }
  return chunks;
}

WireStream::WireStream(v1::TrainingService::Stub& training)
    : stream_(training.StreamStep(&context_)) {}

WireStream::~WireStream() {
  if (finished_) return;
  Cancel();
  Finish();
}

bool WireStream::WriteHeader(const v1::StepRequest& request) {
  v1::StreamStepRequest frame;
  *frame.mutable_header()->mutable_header() = request.header();
  if (request.has_reply()) *frame.mutable_header()->mutable_reply() = request.reply();
  return Write(frame);
}

bool WireStream::WriteCommit() {
  v1::StreamStepRequest frame;
  frame.mutable_commit();
  return Write(frame);
}

bool WireStream::ReadGrant() {
  v1::StreamStepResponse frame;
  if (!Read(&frame)) return false;
  EXPECT_TRUE(frame.has_grant()) << frame.ShortDebugString();
  EXPECT_GT(frame.grant().num_elements(), 0u);
  granted_ = true;
  return frame.has_grant();
}

bool WireStream::ReadReply(v1::StepResponse* response) {
  granted_ = false;
  v1::Section data;
  uint32_t crc = 0;
  bool has_checksums = false;
  v1::StreamStepResponse frame;
  while (Read(&frame)) {
    if (frame.has_grant()) {
      // A worker that did not wait for the grant to abstain may be told twice.
      EXPECT_TRUE(!granted_ || abstains_);
      granted_ = true;
      continue;
    }
    if (frame.has_trailer()) {
      EXPECT_EQ(frame.trailer().has_data_crc32c(), has_checksums);
      EXPECT_EQ(frame.trailer().data_crc32c(), crc);
      *response = frame.trailer().response();
      if (!data.data().empty()) response->add_sections()->Swap(&data);
      return true;
    }
    const v1::Section& section = frame.chunk().section();
    const uint64_t element_bytes =
        section.dtype() == v1::DTYPE_FLOAT32 ? sizeof(float) : sizeof(uint16_t);
    EXPECT_EQ(section.begin_element(), data.data().size() / element_bytes);
    EXPECT_LE(section.data().size(), 1u << 20);
    if (frame.chunk().has_crc32c()) {
      has_checksums = true;
      EXPECT_EQ(frame.chunk().crc32c(), core::Crc32c(section.data()));
      crc = core::Crc32c(section.data(), crc);
    }
    data.set_kind(section.kind());
    data.set_dtype(section.dtype());
    data.mutable_data()->append(section.data());
  }
  return false;
}

bool WireStream::Step(const v1::StepRequest& request,
                      const std::vector<v1::StreamStepRequest>& chunks,
                      v1::StepResponse* response) {
  if (!WriteHeader(request)) return false;
  if (!granted_ && !ReadGrant()) return false;
  for (const v1::StreamStepRequest& chunk : chunks) {
    if (!Write(chunk)) return false;
  }
  return WriteCommit() && ReadReply(response);
}

grpc::Status WireStream::Finish() {
  finished_ = true;
  stream_->WritesDone();
  v1::StreamStepResponse rest;
  while (Read(&rest)) {
  }
  return stream_->Finish();
}

v1::CreateSessionRequest UploadOf(v1::CreateSessionRequest request) {
  request.clear_initial_values();
  return request;
}

WireUpload::WireUpload(v1::SessionService::Stub& sessions, const v1::CreateSessionRequest& create)
    : stream_(sessions.UploadSession(&context_)) {
  v1::UploadSessionRequest frame;
  *frame.mutable_create() = create;
  stream_->Write(frame);
}

WireUpload::~WireUpload() {
  if (finished_) return;
  context_.TryCancel();
  Finish();
}

std::optional<uint64_t> WireUpload::ReadGrant() {
  v1::UploadSessionResponse frame;
  if (!stream_->Read(&frame)) return {};
  if (frame.has_created()) created_ = frame.created().session();
  if (!frame.has_grant()) return {};
  return frame.grant().begin_element();
}

bool WireUpload::WriteChunk(uint64_t begin_element, v1::Dtype dtype, const std::string& data,
                            bool checksum) {
  v1::UploadSessionRequest frame;
  v1::Section& section = *frame.mutable_chunk()->mutable_section();
  section.set_kind(v1::SECTION_KIND_PARAMETERS);
  section.set_begin_element(begin_element);
  section.set_dtype(dtype);
  section.set_data(data);
  if (checksum) frame.mutable_chunk()->set_crc32c(core::Crc32c(data));
  return stream_->Write(frame);
}

bool WireUpload::WriteValues(const std::vector<float>& values, uint64_t begin, uint64_t end) {
  constexpr uint64_t kChunk = uint64_t{1} << 18;
  for (; begin < end; begin += kChunk) {
    const uint64_t count = std::min(kChunk, end - begin);
    const std::string data(reinterpret_cast<const char*>(values.data() + begin),
                           count * sizeof(float));
    if (!WriteChunk(begin, v1::DTYPE_FLOAT32, data)) return false;
  }
  return true;
}

bool WireUpload::WriteCommit(std::optional<uint32_t> crc32c) {
  v1::UploadSessionRequest frame;
  frame.mutable_commit();
  if (crc32c.has_value()) frame.mutable_commit()->set_crc32c(*crc32c);
  return stream_->Write(frame);
}

grpc::Status WireUpload::Finish() {
  v1::UploadSessionResponse frame;
  while (stream_->Read(&frame)) {
    if (frame.has_created()) created_ = frame.created().session();
  }
  finished_ = true;
  return stream_->Finish();
}

WireClient::WireClient(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  // Each client has a connection of its own, as clients in different processes would.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  channel_ = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  sessions_ = v1::SessionService::NewStub(channel_);
  training_ = v1::TrainingService::NewStub(channel_);
}

grpc::Status WireClient::Create(const v1::CreateSessionRequest& request,
                                v1::CreateSessionResponse* response) {
  v1::CreateSessionResponse ignored;
  grpc::ClientContext context;
  return sessions_->CreateSession(&context, request, response != nullptr ? response : &ignored);
}

v1::Session WireClient::Get(const std::string& session_id) {
  v1::GetSessionRequest request;
  v1::GetSessionResponse response;
  request.set_session_id(session_id);
  request.set_include_checksum(true);
  grpc::ClientContext context;
  const grpc::Status status = sessions_->GetSession(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.session();
}

v1::JoinResponse WireClient::Join(const std::string& session_id, const std::string& worker) {
  v1::JoinRequest request;
  v1::JoinResponse response;
  request.set_session_id(session_id);
  request.set_worker(worker);
  grpc::ClientContext context;
  const grpc::Status status = sessions_->Join(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

grpc::Status WireClient::Step(const v1::StepRequest& request, v1::StepResponse* response) {
  v1::StepResponse ignored;
  grpc::ClientContext context;
  return training_->Step(&context, request, response != nullptr ? response : &ignored);
}

grpc::Status WireClient::Pull(const v1::PullRequest& request, std::vector<float>* values,
                              uint64_t* version) {
  grpc::ClientContext context;
  const auto reader = training_->Pull(&context, request);
  v1::PullResponse message;
  while (reader->Read(&message)) {
    EXPECT_EQ(message.section().begin_element(), request.begin_element() + values->size());
    const std::vector<float> piece = Floats(message.section().data());
    values->insert(values->end(), piece.begin(), piece.end());
    if (version != nullptr) *version = message.version();
  }
  return reader->Finish();
}

grpc::Status WireClient::RawCall(const std::string& method, const std::string& request,
                                 std::string* response) {
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  void* tag = nullptr;
  bool ok = false;
  const auto await = [&] { return queue.Next(&tag, &ok) && ok; };
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  grpc::ByteBuffer reply;
  const grpc::Slice slice(request);
  if (await()) {
    call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    if (await()) {
      call->Read(&reply, nullptr);
      if (await()) {
        std::vector<grpc::Slice> slices;
        EXPECT_TRUE(reply.Dump(&slices).ok());
        for (const grpc::Slice& piece : slices) {
          response->append(reinterpret_cast<const char*>(piece.begin()), piece.size());
        }
      }
      call->WritesDone(nullptr);
      await();
    }
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  await();
  return status;
}

}  // namespace talweg::testing
