// SPDX-License-Identifier: Apache-2.0
//
// A worker that fits the line y = 2 x + 1 to points: `talweg_example [HOST:PORT]`. A test extracts
// what stands between the markers, builds it and runs it.
// [readme]
#include <cstdio>
#include <vector>

#include "client/cpp/talweg/client.h"

int main(int argc, char** argv) {
  auto client = talweg::Client::Connect(argc > 1 ? argv[1] : "127.0.0.1:50551").value();

  talweg::v1::CreateSessionRequest request;
  request.set_session_id("line");
  auto& config = *request.mutable_config();
  config.mutable_layout()->add_tensors()->set_name("slope");  // no shape: a scalar
  config.mutable_layout()->add_tensors()->set_name("offset");
  config.mutable_optimizer()->mutable_adam();
  config.mutable_schedule()->set_learning_rate(0.1);
  auto& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
  rule.set_tensors("*");
  rule.mutable_constant();  // zeros
  client.CreateOrAttach(request).value();

  auto session = client.Join("line", "worker-0").value();
  std::vector<float> w(2), gradient(2);
  session.Pull(absl::MakeSpan(w)).value();
  for (int step = 0; step < 300; ++step) {
    double loss = 0;
    gradient.assign(2, 0);
    for (float x = -1; x <= 1; x += 0.25f) {
      const float error = w[0] * x + w[1] - (2 * x + 1);
      loss += error * error / 2;
      gradient[0] += error * x;
      gradient[1] += error;
    }
    session.Step(gradient, absl::MakeSpan(w), {loss}).value();  // w is the next point
  }
  std::printf("y = %.3f x + %.3f at version %d\n", w[0], w[1], int(session.version()));
  return session.Leave().ok() && client.DeleteSession("line").ok() ? 0 : 1;
}
// [readme]
