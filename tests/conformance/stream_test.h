// SPDX-License-Identifier: Apache-2.0
//
// What the tests of StreamStep share: sizes, gradients, and the check that nothing stays behind.
// For tests only.
#pragma once

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/conformance/served_test.h"
#include "tests/support/wire_client.h"

namespace talweg::testing {

// The fewest elements that a float32 chunk may have unless it is the last.
inline constexpr uint64_t kMinElements = 65536;
// Three chunks of kMinElements and a shorter last one.
inline constexpr uint64_t kElements = 3 * kMinElements + 4097;
// A reply of six data frames.
inline constexpr uint64_t kLarge = 5 * 4 * kMinElements + 1;

// A gradient that `seed` determines: multiples of 1/64 in [-7.8125, 7.8125].
inline std::vector<float> Gradient(uint64_t num_elements, uint64_t seed) {
  std::vector<float> gradient(num_elements);
  for (uint64_t index = 0; index < num_elements; ++index) {
    gradient[index] =
        static_cast<float>(static_cast<int64_t>((index + seed) * 2654435761 % 1001) - 500) / 64;
  }
  return gradient;
}

class StreamTest : public ServedTest {
 protected:
  v1::JoinResponse CreateAndJoin(const std::string& id, uint64_t num_elements = kElements) {
    EXPECT_TRUE(wire_->Create(VectorSession(id, num_elements, "adam")).ok());
    return wire_->Join(id);
  }

  void Delete(const std::string& id) {
    v1::DeleteSessionRequest request;
    v1::DeleteSessionResponse response;
    request.set_session_id(id);
    grpc::ClientContext context;
    EXPECT_TRUE(wire_->sessions().DeleteSession(&context, request, &response).ok());
  }

  // Expects that no memory of any stream stays charged. What a stream held is given back when the
  // pool has seen its end, so this waits for it, at most some seconds.
  void ExpectNothingHeld() {
    for (int tries = 0; tries < 5000 && server_->message_bytes() != 0; ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(server_->message_bytes(), 0u);
  }
};

}  // namespace talweg::testing
