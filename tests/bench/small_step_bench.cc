// SPDX-License-Identifier: Apache-2.0
//
// small_step: latency of a Step of 1,000 parameters (Adam, parameters back) against that of an
// empty unary call, the health check, on the same server process over the same connection. The two
// are called in turn, so that whatever else the machine does falls on both.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "tests/support/health.grpc.pb.h"
#include "tests/support/server_process.h"
#include "tests/support/wire_client.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kWarmUp = 500;
constexpr int kRounds = 20000;
constexpr double kGoal = 1.3;

double Microseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

double Median(std::vector<double>& values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

}  // namespace

int main() {
  using namespace talweg::testing;
  ServerProcess server({"--log_level=error"});
  WireClient wire(server.address());
  if (!wire.Create(VectorSession("s", 1000, "adam")).ok()) return 1;
  const talweg::v1::JoinResponse joined = wire.Join("s");
  const auto health = grpc::health::v1::Health::NewStub(wire.channel());
  talweg::v1::StepRequest request = StepOf("s", joined, 1, 0, std::vector<float>(1000, 0.5f));

  std::vector<double> ours;
  std::vector<double> peer;
  for (int round = 0; round < kWarmUp + kRounds; ++round) {
    request.mutable_header()->set_sequence(round + 1);
    request.mutable_header()->set_base_version(round);
    const auto start = Clock::now();
    talweg::v1::StepResponse response;
    if (!wire.Step(request, &response).ok() || response.verdict() != talweg::v1::VERDICT_APPLIED) {
      std::fprintf(stderr, "small_step: a step was not applied\n");
      return 1;
    }
    const auto middle = Clock::now();
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckResponse healthy;
    if (!health->Check(&context, {}, &healthy).ok()) return 1;
    const auto end = Clock::now();
    if (round < kWarmUp) continue;
    ours.push_back(Microseconds(middle - start));
    peer.push_back(Microseconds(end - middle));
  }
  const double our_latency = Median(ours);
  const double peer_latency = Median(peer);
  const double ratio = our_latency / peer_latency;
  std::printf("bench small_step ours %.1f us peer empty_unary %.1f us ratio %.2f goal <=%.1f %s\n",
              our_latency, peer_latency, ratio, kGoal, ratio <= kGoal ? "ok" : "short");
  return 0;
}
