// SPDX-License-Identifier: Apache-2.0
//
// Latencies of a step of 1,000 parameters (Adam, parameters back). Ours and its peer are called in
// turn on the same server process, so that whatever else the machine does falls on both.
//
// small_step: a Step against an empty unary call, the health check, over the same connection.
// small_streamed_step: a step of the C++ client over StreamStep against its step in one message.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "tests/bench/measure.h"
#include "tests/support/health.grpc.pb.h"
#include "tests/support/server_process.h"
#include "tests/support/wire_client.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kWarmUp = 500;
constexpr int kRounds = 20000;

double Microseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

// Calls both in turn, and prints the ratio of the medians. Both return whether they worked.
template <class Ours, class Peer>
int Compare(const char* name, const char* peer_name, double goal, const Ours& ours,
            const Peer& peer) {
  std::vector<double> our_times;
  std::vector<double> peer_times;
  for (int round = 0; round < kWarmUp + kRounds; ++round) {
    const auto start = Clock::now();
    if (!ours(round)) {
      std::fprintf(stderr, "%s: a step was not applied\n", name);
      return 1;
    }
    const auto middle = Clock::now();
    if (!peer(round)) return 1;
    const auto end = Clock::now();
    if (round < kWarmUp) continue;
    our_times.push_back(Microseconds(middle - start));
    peer_times.push_back(Microseconds(end - middle));
  }
  const double our_latency = talweg::testing::Median(our_times);
  const double peer_latency = talweg::testing::Median(peer_times);
  const double ratio = our_latency / peer_latency;
  std::printf("bench %s ours %.1f us peer %s %.1f us ratio %.2f goal <=%.1f %s\n", name,
              our_latency, peer_name, peer_latency, ratio, goal, ratio <= goal ? "ok" : "short");
  return 0;
}

int SmallStep() {
  using namespace talweg::testing;
  ServerProcess server({"--log_level=error"});
  WireClient wire(server.address());
  if (!wire.Create(VectorSession("s", 1000, "adam")).ok()) return 1;
  const talweg::v1::JoinResponse joined = wire.Join("s");
  const auto health = grpc::health::v1::Health::NewStub(wire.channel());
  talweg::v1::StepRequest request = StepOf("s", joined, 1, 0, std::vector<float>(1000, 0.5f));
  return Compare(
      "small_step", "empty_unary", 1.3,
      [&](int round) {
        request.mutable_header()->set_sequence(round + 1);
        request.mutable_header()->set_base_version(round);
        talweg::v1::StepResponse response;
        return wire.Step(request, &response).ok() &&
               response.verdict() == talweg::v1::VERDICT_APPLIED;
      },
      [&](int) {
        grpc::ClientContext context;
        grpc::health::v1::HealthCheckResponse healthy;
        return health->Check(&context, {}, &healthy).ok();
      });
}

int SmallStreamedStep() {
  using namespace talweg;
  testing::ServerProcess server({"--log_level=error"});
  ClientOptions options;
  const Client unary = Client::Connect(server.address(), options).value();
  options.stream_threshold_bytes = 0;
  const Client streaming = Client::Connect(server.address(), options).value();
  for (const char* name : {"streamed", "unary"}) {
    if (!unary.CreateSession(testing::VectorSession(name, 1000, "adam")).ok()) return 1;
  }
  Session ours = streaming.Join("streamed", "a").value();
  Session peer = unary.Join("unary", "a").value();
  const std::vector<float> gradient(1000, 0.5f);
  std::vector<float> parameters(1000);
  const auto step = [&](Session& session) {
    const auto result = session.Step(gradient, absl::MakeSpan(parameters));
    return result.ok() && result->applied();
  };
  return Compare(
      "small_streamed_step", "unary_step", 2.5, [&](int) { return step(ours); },
      [&](int) { return step(peer); });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "small_step") return SmallStep();
  if (name == "small_streamed_step") return SmallStreamedStep();
  std::fprintf(stderr, "usage: small_step_bench small_step|small_streamed_step\n");
  return 2;
}
