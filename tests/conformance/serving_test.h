// SPDX-License-Identifier: Apache-2.0
//
// What the tests of a whole server share: how they pull a vector, and a small session of two
// tensors. For tests only.
#pragma once

#include <string>
#include <vector>

#include "tests/conformance/served_test.h"
#include "tests/support/wire_client.h"

namespace talweg::testing {

class ServingTest : public ServedTest {
 protected:
  // Pulls all parameters of a session, and writes their version to `version` if it is not null.
  std::vector<float> PullAll(const std::string& session_id, uint64_t* version = nullptr) {
    v1::PullRequest request;
    request.set_session_id(session_id);
    std::vector<float> values;
    const grpc::Status status = wire_->Pull(request, &values, version);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return values;
  }
};

// A session "s" of two tensors, "w" with two elements and "b" with one. They start at {1, 2, 4};
// the learning rate is 0.5.
inline v1::CreateSessionRequest TwoTensors() {
  v1::CreateSessionRequest create = VectorSession("s", 2);
  create.mutable_config()->mutable_layout()->add_tensors()->set_name("b");
  v1::Section& initial = *create.mutable_initial_values()->mutable_uploaded();
  initial.set_kind(v1::SECTION_KIND_PARAMETERS);
  for (const float value : {1, 2, 4}) initial.add_values(value);
  return create;
}

}  // namespace talweg::testing
