// SPDX-License-Identifier: Apache-2.0
//
// What the tests of statistics share: a small network with odd sizes, sessions that train it by
// kfac, and contributions with statistics. For tests only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/conformance/served_test.h"
#include "tests/support/wire_client.h"

namespace talweg::testing {

// The network h = tanh(w1 x + b1), y = h w2 + rest, with 5 inputs, 7 hidden units and 3 outputs.
// The layers are w1 with b1, and w2, which is [inputs, outputs] and has no bias; `rest` is in none.
inline constexpr uint64_t kInputs = 5, kHidden = 7, kOutputs = 3;
inline constexpr uint64_t kParameters = kHidden * (kInputs + 1) + kHidden * kOutputs + kOutputs;

// What a worker takes of some samples: the gradient of their mean loss and the rows of both layers.
struct Part {
  uint64_t num_samples = 0;
  std::vector<float> gradient;             // [kParameters]
  std::vector<float> inputs, derivatives;  // of w1: [num_samples, kInputs], [.., kHidden]
  std::vector<float> hidden, of_outputs;   // of w2: [num_samples, kHidden], [.., kOutputs]
};

// The samples [begin, end) of the batch `batch`, at `parameters`. A sample depends on its own
// number alone, and not on the part that it is in.
Part PartOf(const std::vector<float>& parameters, uint64_t batch, uint64_t begin, uint64_t end);

// A contribution's numbers and what its header says of them.
struct Sent {
  std::vector<float> gradient;
  v1::Statistics statistics;
  std::vector<float> numbers;  // of the statistics
  v1::Dtype dtype = v1::DTYPE_FLOAT32;
};
Sent AsRows(const Part& part);
// The same moments, computed here in double precision.
Sent AsTriangles(const Part& part);
// Derivatives of the mean loss over the samples, and a header that says so.
Sent OfMeanLoss(const Part& part);
// Every sample twice.
Sent Twice(const Part& part);
// The nearest numbers that bfloat16 holds exactly.
Part Rounded(Part part);

// The largest difference of two vectors, over the largest element of the second.
double Distance(const std::vector<float>& a, const std::vector<float>& b);

// A session that trains the network by kfac, refreshing within the steps: in the first two, and
// then in every third.
v1::CreateSessionRequest NetworkSession(const std::string& session_id);
v1::CreateSessionRequest SynchronousNetworkSession(const std::string& session_id);

class StatisticsTest : public ServedTest {
 protected:
  void Create(const v1::CreateSessionRequest& request);
  v1::JoinResponse Join(const std::string& session_id, const std::string& worker,
                        const std::vector<v1::Role>& roles = {});
  std::vector<float> Parameters(const std::string& session_id);
  std::string StateDigest(const std::string& session_id);
  std::vector<v1::VersionRecord> Records(const std::string& session_id);
  grpc::Status Update(const v1::UpdateSessionRequest& request);

  // A contribution of `worker` to a session, at the version that it is at.
  v1::StepRequest Request(const std::string& session_id, const v1::JoinResponse& joined,
                          const std::string& worker, uint64_t sequence, const Sent& sent);
  // The statistics of it without the gradient.
  v1::StepRequest Alone(const std::string& session_id, const v1::JoinResponse& joined,
                        const std::string& worker, uint64_t sequence, const Sent& sent);
  // Sends a request that must succeed.
  v1::StepResponse Send(const v1::StepRequest& request);
  // The same over a stream of its own, in chunks of at most `chunk_elements`.
  v1::StepResponse Stream(const v1::StepRequest& request, uint64_t chunk_elements = 65536);
};

// The sections of a request as the chunks of a stream, the gradient first.
std::vector<v1::StreamStepRequest> ChunksOfSections(const v1::StepRequest& request,
                                                    uint64_t chunk_elements);

}  // namespace talweg::testing
