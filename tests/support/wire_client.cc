// SPDX-License-Identifier: Apache-2.0
#include "tests/support/wire_client.h"

#include <cstring>

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
