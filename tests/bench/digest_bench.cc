// SPDX-License-Identifier: Apache-2.0
//
// What the digest of a state costs as a part of each step (digests.every_steps = 1): an Adam step
// of the C++ client without parameters back, against the same step of a session without digests.
// Both sessions live in one server process and are stepped in turn.
//
// digest_small: 1,000 parameters. digest_64m: 64 MiB of parameters, 192 MiB of state.
#include <cstdio>
#include <string>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "tests/bench/measure.h"
#include "tests/support/server_process.h"
#include "tests/support/wire_client.h"

namespace {

// Prints the ratio of the median times of a step.
int Compare(const std::string& name, size_t num_elements, int rounds, double goal) {
  using namespace talweg;
  testing::ServerProcess server({"--log_level=error"});
  const Client client = Client::Connect(server.address()).value();
  std::vector<Session> sessions;
  for (const char* id : {"digested", "plain"}) {
    v1::CreateSessionRequest request = testing::VectorSession(id, num_elements, "adam");
    request.mutable_config()->mutable_digests()->set_every_steps(sessions.empty() ? 1 : 0);
    if (!client.CreateSession(request).ok()) return 1;
    sessions.push_back(client.Join(id, "a").value());
  }
  const std::vector<float> gradient(num_elements, 0.5f);
  std::vector<double> times[2];
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < sessions.size(); ++i) {
      bool applied = false;
      StepOptions options;
      options.base_version = static_cast<uint64_t>(round);
      const double seconds = testing::SecondsOf(1, [&] {
        const auto result = sessions[i].Step(gradient, {}, {}, options);
        applied =
            result.ok() && result->applied() && result->report->has_state_digest() == (i == 0);
      });
      if (!applied) return 1;
      if (round >= rounds / 10) times[i].push_back(seconds * 1e3);
    }
  }
  const double ours = testing::Median(times[0]);
  const double peer = testing::Median(times[1]);
  const double ratio = ours / peer;
  std::printf("bench %s ours %.3f ms peer step_without %.3f ms ratio %.2f goal <=%g %s\n",
              name.c_str(), ours, peer, ratio, goal, ratio <= goal ? "ok" : "short");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "digest_small") return Compare(name, 1000, 20000, 1.3);
  if (name == "digest_64m") return Compare(name, size_t{16} << 20, 20, 5);
  std::fprintf(stderr, "usage: digest_bench digest_small|digest_64m\n");
  return 2;
}
