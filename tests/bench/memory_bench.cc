// SPDX-License-Identifier: Apache-2.0
//
// memory_256m, memory_2g: how much the server's process grows, at its largest, while a client of
// another process takes float32 Adam steps of that many bytes of parameters over StreamStep,
// against what the session was said to take (Session.memory_bytes: slots, two versions, one staged
// gradient).
//
//   memory_bench memory_256m|memory_2g
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/client.h"
#include "tests/support/process_status.h"
#include "tests/support/server_process.h"

namespace {

using talweg::testing::StatusBytes;

constexpr double kGoal = 1.05;
constexpr int kSteps = 10;
constexpr uint64_t kTensors = 64;

talweg::v1::CreateSessionRequest AdamSession(uint64_t num_elements) {
  talweg::v1::CreateSessionRequest request;
  request.set_session_id("large");
  talweg::v1::SessionConfig& config = *request.mutable_config();
  for (uint64_t i = 0; i < kTensors; ++i) {
    talweg::v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
    tensor.set_name(absl::StrCat("block.", i));
    tensor.add_shape(num_elements / kTensors);
  }
  config.mutable_optimizer()->mutable_adam();
  config.mutable_schedule()->set_learning_rate(0.001);
  auto& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
  rule.set_tensors("*");
  rule.mutable_normal()->set_standard_deviation(0.02);
  return request;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc == 2 ? argv[1] : "";
  if (name != "memory_256m" && name != "memory_2g") {
    std::fprintf(stderr, "usage: memory_bench memory_256m|memory_2g\n");
    return 2;
  }
  const uint64_t bytes = name == "memory_2g" ? uint64_t{2} << 30 : uint64_t{256} << 20;
  const uint64_t num_elements = bytes / sizeof(float);
  const talweg::testing::ServerProcess server({"--log_level=error"});
  const uint64_t before = StatusBytes(server.pid(), "VmRSS");
  const auto client = talweg::Client::Connect(server.address(), talweg::ClientOptions()).value();
  const auto created = client.CreateSession(AdamSession(num_elements));
  if (!created.ok()) {
    std::fprintf(stderr, "%s: %s\n", name.c_str(), created.status().ToString().c_str());
    return 1;
  }
  const uint64_t stated = created->memory_bytes();
  talweg::Session session = client.Join("large", "a").value();
  std::vector<float> gradient(num_elements), parameters(num_elements);
  for (uint64_t i = 0; i < num_elements; ++i) {
    gradient[i] = 1e-3f * static_cast<float>(i % 1001) - 0.5f;
  }
  for (int step = 0; step < kSteps; ++step) {
    const auto result = session.Step(gradient, absl::MakeSpan(parameters));
    if (!result.ok() || !result->applied()) {
      std::fprintf(stderr, "%s: %s\n", name.c_str(), result.status().ToString().c_str());
      return 1;
    }
  }
  const uint64_t peak = StatusBytes(server.pid(), "VmHWM");
  if (before == 0 || peak <= before) {
    std::fprintf(stderr, "%s: /proc/PID/status does not tell\n", name.c_str());
    return 1;
  }
  const double mebibyte = 1 << 20;
  const double ours = static_cast<double>(peak - before) / mebibyte;
  const double peer = static_cast<double>(stated) / mebibyte;
  std::printf("bench %s ours %.1f MiB peer memory_bytes %.1f MiB ratio %.3f goal <=%g %s\n",
              name.c_str(), ours, peer, ours / peer, kGoal, ours / peer <= kGoal ? "ok" : "short");
  return 0;
}
