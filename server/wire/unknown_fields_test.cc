// SPDX-License-Identifier: Apache-2.0
#include "server/wire/unknown_fields.h"

#include <string>

#include "core/base/reasons.h"
#include "google/protobuf/unknown_field_set.h"
#include "gtest/gtest.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg::server {
namespace {

void AddUnknown(google::protobuf::Message& message, int number) {
  message.GetReflection()->MutableUnknownFields(&message)->AddVarint(number, 1);
}

void ExpectUnknown(const google::protobuf::Message& message, const std::string& field) {
  const absl::Status status = CheckNoUnknownFields(message);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(core::ReasonName(status), "FIELD_UNKNOWN");
  EXPECT_EQ(core::FieldName(status), field);
}

v1::CreateSessionRequest FullRequest() {
  v1::CreateSessionRequest request;
  request.set_session_id("a");
  for (const char* name : {"w", "b"}) {
    v1::Tensor& tensor = *request.mutable_config()->mutable_layout()->add_tensors();
    tensor.set_name(name);
    tensor.add_shape(3);
  }
  request.mutable_config()->mutable_optimizer()->mutable_adam()->set_beta1(0.5);
  request.mutable_initial_values()->mutable_seeded()->add_rules()->mutable_constant();
  return request;
}

TEST(CheckNoUnknownFieldsTest, KnownFieldsPass) {
  EXPECT_TRUE(CheckNoUnknownFields(FullRequest()).ok());
  EXPECT_TRUE(CheckNoUnknownFields(v1::CreateSessionRequest()).ok());
}

TEST(CheckNoUnknownFieldsTest, NamesAFieldAtTheTopByItsNumber) {
  v1::CreateSessionRequest request = FullRequest();
  AddUnknown(request, 1000);
  ExpectUnknown(request, "1000");
}

TEST(CheckNoUnknownFieldsTest, FindsAFieldDeepWithin) {
  v1::CreateSessionRequest request = FullRequest();
  AddUnknown(*request.mutable_config()->mutable_optimizer()->mutable_adam(), 77);
  ExpectUnknown(request, "config.optimizer.adam.77");
}

TEST(CheckNoUnknownFieldsTest, FindsAFieldInAnyElementOfARepeatedField) {
  v1::CreateSessionRequest request = FullRequest();
  AddUnknown(*request.mutable_config()->mutable_layout()->mutable_tensors(1), 9);
  ExpectUnknown(request, "config.layout.tensors[1].9");
}

TEST(CheckNoUnknownFieldsTest, FindsWhatANewerClientWouldSend) {
  // A gradient descent with a field 5, as bytes of the wire: config.optimizer.gradient_descent.
  v1::CreateSessionRequest request;
  v1::SessionConfig& config = *request.mutable_config();
  ASSERT_TRUE(config.mutable_optimizer()->ParseFromString(std::string("\x0a\x02\x28\x01", 4)));
  ASSERT_TRUE(config.optimizer().has_gradient_descent());
  v1::CreateSessionRequest received;
  ASSERT_TRUE(received.ParseFromString(request.SerializeAsString()));
  ExpectUnknown(received, "config.optimizer.gradient_descent.5");
}

}  // namespace
}  // namespace talweg::server
