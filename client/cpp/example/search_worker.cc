// SPDX-License-Identifier: Apache-2.0
//
// The line of worker.cc, y = 2 x + 1, fitted without a gradient: `talweg_search_example
// [HOST:PORT]`. client/README.md shows what stands between the markers.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/perturbation.h"

namespace {

// What a search minimizes: any function of the parameters will do.
double LossAt(const std::vector<float>& w) {
  double loss = 0;
  for (float x = -1; x <= 1; x += 0.25f) {
    const double error = w[0] * x + w[1] - (2 * x + 1);
    loss += error * error / 2;
  }
  return loss;
}

}  // namespace

int main(int argc, char** argv) {
  auto client = talweg::Client::Connect(argc > 1 ? argv[1] : "127.0.0.1:50551").value();

  talweg::v1::CreateSessionRequest request;
  request.set_session_id("searched-line");
  auto& config = *request.mutable_config();
  config.mutable_layout()->add_tensors()->set_name("slope");
  config.mutable_layout()->add_tensors()->set_name("offset");
  config.mutable_optimizer()->mutable_adam();
  config.mutable_schedule()->set_learning_rate(0.1);
  auto& search = *config.mutable_search();
  search.set_method(talweg::v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  search.set_num_pairs(16);  // of each generation
  search.set_sigma(0.1);
  search.set_max_generations(200);
  auto& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
  rule.set_tensors("*");
  rule.mutable_constant();  // zeros
  client.CreateOrAttach(request).value();

  // [readme]
  auto session = client.Join("searched-line", "worker-0").value();
  std::vector<float> w(2), point(2);
  uint32_t generation = 0;  // for which w was pulled
  for (;;) {
    const auto asked = session.Ask(8).value();  // for at most 8 pairs; waits until there are some
    if (asked.has_finished()) break;
    const auto& lease = asked.lease();
    if (generation != lease.generation()) {
      talweg::PullOptions options;
      options.point = lease.point();  // with some methods not the parameters, but the lookahead
      const auto version = session.Pull(absl::MakeSpan(w), options).value();
      if (version != lease.version()) continue;  // others have closed the generation: ask again
      generation = lease.generation();
    }
    const auto perturbation = talweg::PerturbationOf(config.layout(), lease);
    const uint32_t end = lease.first_pair() + lease.num_pairs();
    std::vector<double> losses;
    for (uint32_t pair = lease.first_pair(); pair < end; ++pair) {
      for (const float sigma : {lease.sigma(), -lease.sigma()}) {  // plus before minus
        perturbation.Perturb({lease.generation(), pair}, sigma, 0, w, point);
        losses.push_back(LossAt(point));
      }
    }
    const auto told = session.Tell(lease, losses).value();
    if (told.num_dropped() > 0) std::fprintf(stderr, "pairs were dropped: are losses NaN?\n");
  }
  // [readme]
  session.Pull(absl::MakeSpan(w)).value();
  std::printf("y = %.3f x + %.3f at version %d\n", w[0], w[1], int(session.version()));
  return session.Leave().ok() && client.DeleteSession("searched-line").ok() ? 0 : 1;
}
