// SPDX-License-Identifier: Apache-2.0
//
// round_overhead: contributions per second of 64 workers in synchronous rounds of 1,000 parameters
// (Adam, parameters back), against empty unary calls per second, the health check: as many of them
// under way at the same time, over the same connections, in turn with ours. The client's share of
// both is in both.
//
// fleet_memory_async, fleet_memory_sync: how much the server's process grows, at its largest, while
// 64 streams are open at the same time and each brings contributions of 64 MiB, against what
// that is said to take: what the session was said to take (Session.memory_bytes) and a staged
// contribution for each stream. In the synchronous one all contribute at once and get the
// parameters of the version that they made. In the asynchronous one all contribute at once without
// parameters back, and then in turn with them; versions before the last two, which slow readers
// would hold, come on top of the statement.
//
//   fleet_bench NAME
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/client.h"
#include "tests/bench/measure.h"
#include "tests/support/process_status.h"
#include "tests/support/server_process.h"
#include "tests/support/swarm.h"

namespace {

using namespace talweg;
using talweg::testing::Median;
using talweg::testing::SecondsOf;
using talweg::testing::ServerProcess;
using talweg::testing::StatusBytes;
using talweg::testing::Swarm;

constexpr size_t kWorkers = 64;
constexpr size_t kConnections = 4;
constexpr char kSession[] = "s";

std::string NameOf(size_t worker) { return absl::StrCat("worker-", worker); }

v1::CreateSessionRequest AdamSession(uint64_t num_elements, v1::AggregationMode mode) {
  v1::CreateSessionRequest request;
  request.set_session_id(kSession);
  v1::SessionConfig& config = *request.mutable_config();
  v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
  tensor.set_name("w");
  tensor.add_shape(num_elements);
  config.mutable_optimizer()->mutable_adam();
  config.mutable_schedule()->set_learning_rate(0.001);
  v1::AggregationPolicy& policy = *config.mutable_aggregation();
  policy.set_mode(mode);
  policy.set_lease_seconds(600);
  if (mode == v1::AGGREGATION_MODE_ASYNCHRONOUS) policy.set_max_staleness(1'000'000);
  auto& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
  rule.set_tensors("*");
  rule.mutable_normal()->set_standard_deviation(0.02);
  return request;
}

// Ends the program if something fails that no benchmark is about.
void Require(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "fleet_bench: %s\n", what.c_str());
  std::exit(1);
}

// A session with its workers, each with the header of its next contribution.
class Fleet {
 public:
  Fleet(uint64_t num_elements, v1::AggregationMode mode, const std::vector<std::string>& flags)
      : server(flags), swarm(server.address(), kConnections), headers(kWorkers) {
    resident_before = StatusBytes(server.pid(), "VmRSS");
    const auto client = Client::Connect(server.address()).value();
    const auto created = client.CreateSession(AdamSession(num_elements, mode));
    Require(created.ok(), created.status().ToString());
    stated = created->memory_bytes();
    v1::JoinRequest request;
    request.set_session_id(kSession);
    for (size_t worker = 0; worker < kWorkers; ++worker) {
      request.set_worker(NameOf(worker));
      swarm.Join(worker, request,
                 [this, worker](const absl::Status& status, v1::JoinResponse& joined) {
                   Require(status.ok(), status.ToString());
                   v1::ContributionHeader& header = headers[worker];
                   header.set_session_id(kSession);
                   header.set_history(joined.history());
                   header.set_worker(NameOf(worker));
                   header.set_incarnation(joined.incarnation());
                   header.set_sequence(1);
                 });
    }
    swarm.Wait();
  }

  // Checks an answer, and makes `header` that of the next contribution.
  void Advance(v1::ContributionHeader& header, const absl::Status& status,
               const v1::StepResponse& response) const {
    Require(status.ok() && response.verdict() == v1::VERDICT_APPLIED,
            absl::StrCat(status.ToString(), " ", v1::Verdict_Name(response.verdict())));
    header.set_sequence(header.sequence() + 1);
    header.set_base_version(response.data_version());
  }

  const ServerProcess server;
  Swarm swarm;
  std::vector<v1::ContributionHeader> headers;
  uint64_t resident_before = 0;
  uint64_t stated = 0;
};

int RoundOverhead() {
  constexpr uint64_t kElements = 1000;
  constexpr int kRounds = 40;       // of ours, and as many calls of the peer, at a time
  constexpr int kRepetitions = 25;  // after one to warm up
  constexpr double kGoal = 0.5;
  Fleet fleet(kElements, v1::AGGREGATION_MODE_SYNCHRONOUS, {"--log_level=error"});
  std::vector<v1::StepRequest> requests(kWorkers);
  for (size_t worker = 0; worker < kWorkers; ++worker) {
    *requests[worker].mutable_header() = fleet.headers[worker];
    v1::Section& section = *requests[worker].add_sections();
    section.set_kind(v1::SECTION_KIND_GRADIENT);
    const std::vector<float> gradient(kElements, 0.5f + static_cast<float>(worker));
    section.set_data(std::string(reinterpret_cast<const char*>(gradient.data()),
                                 gradient.size() * sizeof(float)));
  }
  std::vector<int> left(kWorkers);
  const std::function<void(size_t)> step = [&](size_t worker) {
    fleet.swarm.Step(worker, requests[worker],
                     [&, worker](const absl::Status& status, v1::StepResponse& response) {
                       fleet.Advance(*requests[worker].mutable_header(), status, response);
                       if (--left[worker] > 0) step(worker);
                     });
  };
  const std::function<void(size_t)> check = [&](size_t worker) {
    fleet.swarm.Check(worker, [&, worker](const absl::Status& status) {
      Require(status.ok(), status.ToString());
      if (--left[worker] > 0) check(worker);
    });
  };
  const auto rate = [&](const std::function<void(size_t)>& call) {
    std::fill(left.begin(), left.end(), kRounds);
    return static_cast<double>(kRounds * kWorkers) / SecondsOf(1, [&] {
             for (size_t worker = 0; worker < kWorkers; ++worker) call(worker);
             fleet.swarm.Wait();
           });
  };
  std::vector<double> our_rates, peer_rates;
  for (int repetition = 0; repetition <= kRepetitions; ++repetition) {
    const double our_rate = rate(step);
    const double peer_rate = rate(check);
    if (repetition == 0) continue;
    our_rates.push_back(our_rate);
    peer_rates.push_back(peer_rate);
  }
  const double ours = Median(our_rates);
  const double peer = Median(peer_rates);
  testing::Print("round_overhead", ours, "/s", "empty_unary", peer, ours / peer, kGoal);
  return 0;
}

int FleetMemory(const std::string& name) {
  constexpr uint64_t kElements = uint64_t{16} << 20;
  constexpr uint64_t kChunkElements = uint64_t{1} << 18;
  constexpr uint64_t kBytes = kElements * sizeof(float);
  constexpr double kGoal = 1.05;
  const bool synchronous = name == "fleet_memory_sync";
  // A sixth of what sessions may take is for what streams stage.
  Fleet fleet(kElements,
              synchronous ? v1::AGGREGATION_MODE_SYNCHRONOUS : v1::AGGREGATION_MODE_ASYNCHRONOUS,
              {"--log_level=error", absl::StrCat("--memory_bytes=", 7 * kWorkers * kBytes)});
  std::vector<v1::StreamStepRequest> chunks;
  for (uint64_t begin = 0; begin < kElements; begin += kChunkElements) {
    v1::Section& section = *chunks.emplace_back().mutable_chunk()->mutable_section();
    section.set_kind(v1::SECTION_KIND_GRADIENT);
    section.set_begin_element(begin);
    const std::vector<float> gradient(kChunkElements, 1e-9f * static_cast<float>(begin));
    section.set_data(std::string(reinterpret_cast<const char*>(gradient.data()),
                                 gradient.size() * sizeof(float)));
  }
  const auto frames = Swarm::Serialize(chunks);
  chunks.clear();
  std::vector<Swarm::Stream*> streams;
  for (size_t worker = 0; worker < kWorkers; ++worker) {
    streams.push_back(&fleet.swarm.OpenStream(worker));
  }
  const auto contribute = [&](size_t worker, bool with_data) {
    v1::StreamHeader header;
    *header.mutable_header() = fleet.headers[worker];
    if (!with_data) header.mutable_reply()->set_data(v1::REPLY_DATA_NONE);
    streams[worker]->Contribute(
        header, frames, [&, worker](const absl::Status& status, v1::StepResponse& response) {
          fleet.Advance(fleet.headers[worker], status, response);
        });
  };
  for (int round = 0; round < 2; ++round) {
    for (size_t worker = 0; worker < kWorkers; ++worker) contribute(worker, synchronous);
    fleet.swarm.Wait();
  }
  for (size_t worker = 0; !synchronous && worker < kWorkers; ++worker) {
    contribute(worker, true);
    fleet.swarm.Wait();
  }
  const double mebibyte = 1 << 20;
  const double now = static_cast<double>(StatusBytes(fleet.server.pid(), "VmRSS"));
  const double ours = (static_cast<double>(StatusBytes(fleet.server.pid(), "VmHWM")) -
                       static_cast<double>(fleet.resident_before)) /
                      mebibyte;
  const double peer = static_cast<double>(fleet.stated + kWorkers * kBytes) / mebibyte;
  std::printf("bench %s ours %.1f MiB peer statement %.1f MiB ratio %.3f goal <=%g %s\n",
              name.c_str(), ours, peer, ours / peer, kGoal, ours / peer <= kGoal ? "ok" : "short");
  std::printf("info %s at rest %.1f MiB ratio %.3f\n", name.c_str(),
              (now - static_cast<double>(fleet.resident_before)) / mebibyte,
              (now - static_cast<double>(fleet.resident_before)) / mebibyte / peer);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc == 2 ? argv[1] : "";
  if (name == "round_overhead") return RoundOverhead();
  if (name == "fleet_memory_async" || name == "fleet_memory_sync") return FleetMemory(name);
  std::fprintf(stderr, "usage: fleet_bench round_overhead|fleet_memory_async|fleet_memory_sync\n");
  return 2;
}
