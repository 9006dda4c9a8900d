// SPDX-License-Identifier: Apache-2.0
//
// ask_tell: losses per second that workers on 64 connections tell, in ranges of 16 pairs, against
// empty unary calls per second, the health check, over the same connections, in turn with ours. The
// generations have 1,024 pairs and 1,000 parameters; their steps are in our time. The client's
// share of both is in both.
//
// es_traffic: bytes on the connection of a worker that evaluates a whole generation, to the server
// for each evaluation, and both ways for a generation with replay: a tell that asks for the next
// lease, and the losses of the generation that has closed. Measured by a relay between the two,
// HTTP/2 and gRPC included, at rank 1: for generations of 64 pairs of matrices of 10^4, 10^6 and
// 10^8 parameters, and for 256 and 1,024 pairs of the smallest matrix. Pings that tell whether the
// other side lives are in it. It prints two lines: the most bytes for an evaluation of all of
// these; and, as es_traffic_constant, a generation of 64 pairs of the matrix that takes the most
// bytes against the one that takes the least.
//
//   search_bench NAME
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/talweg/client.h"
#include "grpcpp/grpcpp.h"
#include "talweg/v1/search_service.grpc.pb.h"
#include "talweg/v1/session_service.grpc.pb.h"
#include "tests/bench/measure.h"
#include "tests/support/health.grpc.pb.h"
#include "tests/support/proxy.h"
#include "tests/support/server_process.h"

namespace {

using namespace talweg;
using talweg::testing::Median;
using talweg::testing::Proxy;
using talweg::testing::ServerProcess;

v1::CreateSessionRequest SearchSession(const std::vector<uint64_t>& shape, uint32_t num_pairs) {
  v1::CreateSessionRequest request;
  request.set_session_id("s");
  v1::SessionConfig& config = *request.mutable_config();
  v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
  tensor.set_name("w");
  tensor.mutable_shape()->Assign(shape.begin(), shape.end());
  config.mutable_optimizer()->mutable_gradient_descent();
  config.mutable_schedule()->set_learning_rate(0.001);
  config.mutable_search()->set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  config.mutable_search()->set_num_pairs(num_pairs);
  v1::InitialValueRule& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
  rule.set_tensors("*");
  rule.mutable_constant();
  return request;
}

// Losses that cost nothing to make: one for each evaluation of `num_pairs` pairs.
std::vector<float> MadeUpLosses(uint32_t num_pairs) {
  std::vector<float> losses;
  for (uint32_t i = 0; i < 2 * num_pairs; ++i) losses.push_back(static_cast<float>(i % 7));
  return losses;
}

// --- ask_tell.

// A worker with a connection of its own, and no library around it.
struct Connection {
  std::unique_ptr<v1::SearchService::Stub> search;
  std::unique_ptr<v1::SessionService::Stub> sessions;
  std::unique_ptr<grpc::health::v1::Health::Stub> health;
  std::string worker;
  v1::JoinResponse joined;
};

constexpr int kConnections = 64;
constexpr uint32_t kRange = 16;

// Asks and tells once. Returns how many losses were told, -1 after an error.
int AskAndTell(Connection& connection) {
  v1::AskRequest ask;
  ask.set_session_id("s");
  ask.set_history(connection.joined.history());
  ask.set_worker(connection.worker);
  ask.set_incarnation(connection.joined.incarnation());
  ask.set_capacity(kRange);
  v1::AskResponse leased;
  {
    grpc::ClientContext context;
    if (!connection.search->Ask(&context, ask, &leased).ok() || !leased.has_lease()) return -1;
  }
  v1::TellRequest tell;
  tell.set_session_id("s");
  tell.set_history(connection.joined.history());
  tell.set_worker(connection.worker);
  tell.set_incarnation(connection.joined.incarnation());
  tell.set_generation(leased.lease().generation());
  tell.set_lease(leased.lease().lease());
  tell.set_first_pair(leased.lease().first_pair());
  const std::vector<float> losses = MadeUpLosses(leased.lease().num_pairs());
  tell.mutable_losses()->Assign(losses.begin(), losses.end());
  v1::TellResponse told;
  grpc::ClientContext context;
  if (!connection.search->Tell(&context, tell, &told).ok()) return -1;
  return static_cast<int>(losses.size());
}

int EmptyCall(Connection& connection) {
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckResponse healthy;
  return connection.health->Check(&context, {}, &healthy).ok() ? 1 : -1;
}

// How much all connections together bring about in a second; -1 after an error.
template <class Call>
double PerSecond(std::vector<Connection>& connections, const Call& call) {
  constexpr absl::Duration kRound = absl::Seconds(1);
  std::atomic<int64_t> sum{0};
  std::atomic<bool> failed{false};
  const absl::Time begin = absl::Now();
  std::vector<std::thread> threads;
  threads.reserve(connections.size());
  for (Connection& connection : connections) {
    threads.emplace_back([&] {
      while (absl::Now() - begin < kRound && !failed) {
        const int amount = call(connection);
        if (amount < 0) failed = true;
        sum += amount;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return failed ? -1 : static_cast<double>(sum) / absl::ToDoubleSeconds(absl::Now() - begin);
}

int AskTell() {
  ServerProcess server({"--log_level=error"});
  if (!Client::Connect(server.address())->CreateSession(SearchSession({1000}, 1024)).ok()) return 1;
  std::vector<Connection> connections(kConnections);
  for (int i = 0; i < kConnections; ++i) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel =
        grpc::CreateCustomChannel(server.address(), grpc::InsecureChannelCredentials(), arguments);
    Connection& connection = connections[i];
    connection.search = v1::SearchService::NewStub(channel);
    connection.sessions = v1::SessionService::NewStub(channel);
    connection.health = grpc::health::v1::Health::NewStub(channel);
    connection.worker = absl::StrCat("w", i);
    v1::JoinRequest join;
    join.set_session_id("s");
    join.set_worker(connection.worker);
    grpc::ClientContext context;
    if (!connection.sessions->Join(&context, join, &connection.joined).ok()) return 1;
  }
  std::vector<double> ours;
  std::vector<double> peers;
  for (int round = 0; round < 6; ++round) {
    const double losses = PerSecond(connections, AskAndTell);
    const double calls = PerSecond(connections, EmptyCall);
    if (losses < 0 || calls < 0) {
      std::fprintf(stderr, "ask_tell: a call failed\n");
      return 1;
    }
    if (round == 0) continue;  // to warm up
    ours.push_back(losses);
    peers.push_back(calls);
  }
  const double losses = Median(ours);
  const double calls = Median(peers);
  testing::Print("ask_tell", losses, "losses/s", "empty_unary", calls, losses / calls, 0.5);
  // Each range of 16 pairs is an ask and a tell.
  const double our_calls = losses / kRange;
  std::printf("info ask_tell ours %.2f calls/s peer empty_unary %.2f calls/s ratio %.2f\n",
              our_calls, calls, our_calls / calls);
  return 0;
}

// --- es_traffic.

// The line of a benchmark of bytes, of which less is better.
void PrintAtMost(const char* name, double ours, const char* peer_name, double peer, double goal) {
  const double ratio = ours / peer;
  std::printf("bench %s ours %.2f bytes peer %s %.2f bytes ratio %.2f goal <=%g %s\n", name, ours,
              peer_name, peer, ratio, goal, ratio <= goal ? "ok" : "short");
}

struct Traffic {
  double up_of_evaluation = 0;  // bytes
  double up = 0;                // of a generation
  double down = 0;
};

// What is measured: generations of a session with a matrix of side x side parameters.
struct Case {
  uint64_t side;
  uint32_t num_pairs;
  int num_generations;
};

bool Measure(const Case& measured, Traffic& traffic) {
  const auto& [side, num_pairs, num_generations] = measured;
  ServerProcess server({"--log_level=error"});
  v1::CreateSessionRequest create = SearchSession({side, side}, num_pairs);
  create.mutable_config()->mutable_search()->set_perturbation(v1::PERTURBATION_LOW_RANK);
  create.mutable_config()->mutable_search()->set_rank(1);
  if (!Client::Connect(server.address())->CreateSession(create).ok()) return false;
  Proxy proxy(server.port());
  ClientOptions options;
  options.heartbeats = false;  // they go over a connection of their own
  options.retry.attempt_timeout = absl::Minutes(5);
  const Client client = Client::Connect(proxy.address(), options).value();
  Session session = client.Join("s", "a").value();
  const std::vector<float> losses = MadeUpLosses(num_pairs);
  // The replay's stream; what it would compute is no traffic.
  std::atomic<uint64_t> seen{0};
  std::atomic<bool> over{false};
  options.retry.stop = [&] { return over.load(); };
  const Client replaying = Client::Connect(proxy.address(), options).value();
  std::thread replay([&] {
    (void)replaying.WatchGenerations("s", {.follow = true},
                                     [&](const v1::WatchGenerationsResponse& message) {
                                       if (message.has_record()) seen = message.record().version();
                                       return absl::OkStatus();
                                     });
  });
  bool worked = true;
  uint64_t up = 0;
  uint64_t down = 0;
  // The first message of the stream has the configuration: not every generation does.
  v1::EvaluationLease lease = session.Ask(num_pairs).value().lease();
  for (int generation = 0; worked && generation <= num_generations; ++generation) {
    if (generation == 1) {
      up = proxy.num_bytes(false);
      down = proxy.num_bytes(true);
    }
    const auto told = session.Tell(lease, losses, 0, num_pairs);
    worked = told.ok() && told->has_lease();
    if (worked) lease = told->lease();
    while (worked && seen <= static_cast<uint64_t>(generation)) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  }
  if (worked) {
    traffic.up = static_cast<double>(proxy.num_bytes(false) - up) / num_generations;
    traffic.down = static_cast<double>(proxy.num_bytes(true) - down) / num_generations;
    traffic.up_of_evaluation = traffic.up / (2 * num_pairs);
  }
  over = true;
  replay.join();
  return worked;
}

int EsTraffic() {
  constexpr uint32_t kFewest = 64;
  // Of the cases with the fewest pairs, which differ in the number of parameters alone.
  double least = 0;
  double most = 0;
  double up_of_evaluation = 0;
  for (const Case& measured :
       {Case{100, kFewest, 100}, Case{1000, kFewest, 50}, Case{10000, kFewest, 20},
        Case{100, 256, 100}, Case{100, 1024, 100}}) {
    Traffic traffic;
    if (!Measure(measured, traffic)) {
      std::fprintf(stderr, "es_traffic: a call failed\n");
      return 1;
    }
    if (measured.num_pairs == kFewest) {
      const double both = traffic.up + traffic.down;
      least = least == 0 ? both : std::min(least, both);
      most = std::max(most, both);
    }
    up_of_evaluation = std::max(up_of_evaluation, traffic.up_of_evaluation);
    const double num_elements = static_cast<double>(measured.side * measured.side);
    std::fprintf(stderr,
                 "info es_traffic %.0e parameters: %.2f bytes up for each evaluation, %.0f up and "
                 "%.0f down for a generation of %u pairs with replay, %.0e for a download\n",
                 num_elements, traffic.up_of_evaluation, traffic.up, traffic.down,
                 measured.num_pairs, 4 * num_elements);
  }
  PrintAtMost("es_traffic", up_of_evaluation, "float32_loss", 4, 1.25);
  PrintAtMost("es_traffic_constant", most, "least", least, 1.1);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "ask_tell") return AskTell();
  if (name == "es_traffic") return EsTraffic();
  std::fprintf(stderr, "usage: search_bench ask_tell|es_traffic\n");
  return 2;
}
