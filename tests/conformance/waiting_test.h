// SPDX-License-Identifier: Apache-2.0
//
// What the tests of a fleet's calls share: sessions of synchronous rounds, contributions to them,
// and calls that wait. For tests only.
#pragma once

#include <cstdint>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/conformance/served_test.h"
#include "tests/support/wire_client.h"

namespace talweg::testing {

// How a call ended.
struct Called {
  grpc::Status status;
  v1::StepResponse response;
};

class WaitingTest : public ServedTest {
 protected:
  static constexpr uint64_t kElements = 2 * 65536 + 3;

  // Creates a session of synchronous rounds.
  void Create(const std::string& id, uint64_t num_elements = kElements) {
    v1::CreateSessionRequest request = VectorSession(id, num_elements);
    request.mutable_config()->mutable_aggregation()->set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
    const grpc::Status created = wire_->Create(request);
    ASSERT_TRUE(created.ok()) << created.error_message();
  }

  // A contribution of a worker to session "s" whose elements are all `value`.
  v1::StepRequest Request(const v1::JoinResponse& joined, const std::string& worker, float value,
                          uint64_t sequence = 1, uint64_t num_elements = kElements) {
    v1::StepRequest request =
        StepOf("s", joined, sequence, sequence - 1, std::vector<float>(num_elements, value));
    request.mutable_header()->set_worker(worker);
    request.mutable_reply()->set_data(v1::REPLY_DATA_NONE);
    return request;
  }

  // Makes a call on a thread of its own.
  std::future<Called> Call(v1::StepRequest request, grpc::ClientContext* context = nullptr) {
    return std::async(std::launch::async, [this, request = std::move(request), context] {
      grpc::ClientContext own;
      Called called;
      called.status =
          wire_->training().Step(context == nullptr ? &own : context, request, &called.response);
      return called;
    });
  }

  // Returns when the server has judged `request`: a variant of it, which can be no contribution
  // itself, is told that the sequence was sent before.
  void AwaitJudgement(v1::StepRequest request) {
    request.mutable_header()->set_base_version(request.header().base_version() + 1000);
    std::string reason;
    while (reason != "SEQUENCE_REUSED") {
      reason = ErrorOf(wire_->Step(request)).reason;
      ASSERT_TRUE(reason == "SEQUENCE_REUSED" || reason == "VERSION_AHEAD") << reason;
    }
  }
};

}  // namespace talweg::testing
