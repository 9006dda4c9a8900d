// SPDX-License-Identifier: Apache-2.0
#include "server/server.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "core/base/status_macros.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/resource_quota.h"
#include "server/ops/call_log.h"
#include "server/rpc/search_service.h"
#include "server/rpc/session_service.h"
#include "server/rpc/training_service.h"
#include "server/runtime/clock.h"

namespace talweg::server {
namespace {

// A Step with a gradient of 64 MiB, and its header.
constexpr int kMaxMessageBytes = (64 << 20) + (1 << 20);
// The least of each share of what is under way: three messages of the largest size. gRPC buffers a
// message whole before it checks its size.
constexpr uint64_t kMinWireBytes = uint64_t{192} << 20;
// At the same time on one connection.
constexpr int kMaxStreams = 256;
constexpr int kLookaheadBytes = 512 << 10;
// A connection whose other end has vanished is closed within a minute.
constexpr int kPingMilliseconds = 30000;
constexpr int kPongMilliseconds = 15000;

// How long new calls are told DRAINING before gRPC itself stops. A call that reaches gRPC's server
// after that, or is only half received by then, is cut as CANCELLED, without a reason.
constexpr absl::Duration kRefusal = absl::Milliseconds(300);

bool IsLoopback(absl::string_view host) {
  // It must be a number, not a name that begins like a number.
  const bool numeric = host.find_first_not_of("0123456789.") == absl::string_view::npos;
  return host == "localhost" || host == "[::1]" || (numeric && absl::StartsWith(host, "127."));
}

absl::Status CheckAddress(const ServerOptions& options, std::string& host) {
  const size_t colon = options.address.rfind(':');
  uint32_t port = 0;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(options.address.substr(colon + 1), &port) || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("--address is \"", options.address, "\", expected HOST:PORT"));
  }
  host = options.address.substr(0, colon);
  if (IsLoopback(host) || options.insecure) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--address ", options.address,
                   " is reachable from other machines, and this version has neither encryption nor "
                   "authentication; --insecure allows it all the same"));
}

// Why gRPC could not listen on `address`, whose host is `host`. gRPC tells only its own log, so the
// system is asked again.
std::string WhyNotListening(const std::string& address, const std::string& host) {
  absl::string_view bare = host;
  if (absl::ConsumePrefix(&bare, "[")) absl::ConsumeSuffix(&bare, "]");
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int unknown = getaddrinfo(std::string(bare).c_str(),
                                  address.substr(host.size() + 1).c_str(), &hints, &found);
  if (unknown != 0) return gai_strerror(unknown);
  int error = 0;
  for (const addrinfo* one = found; one != nullptr && error != EADDRINUSE; one = one->ai_next) {
    const int probe = socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC, one->ai_protocol);
    const int on =
        1;  // as gRPC does: connections that a dead server left in TIME_WAIT are no obstacle
    if (probe >= 0) setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (probe < 0 || bind(probe, one->ai_addr, one->ai_addrlen) != 0 || listen(probe, 1) != 0) {
      error = errno;
    }
    if (probe >= 0) close(probe);
  }
  freeaddrinfo(found);
  if (error == 0) return "it was free a moment later";
  if (error != EADDRINUSE) return std::generic_category().message(error);
  return absl::StrCat("address already in use, perhaps by another server; --address=", host,
                      ":0 takes a free port");
}

}  // namespace

struct Server::Parts {
  explicit Parts(const ServerOptions& options)
      : budgets(SessionBytes(options), ShareBytes(options)),
        sessions(options.max_sessions),
        env(Pool()),
        factory(sessions, budgets.sessions, env),
        uploads(env, options.upload_patience),
        door(sessions, stop.gate, Doorkeepers(options)),
        pool(options.num_threads != 0 ? options.num_threads : AvailableCpus()),
        session_service(Context()),
        training_service(Context()),
        search_service(Context()) {}

  static uint64_t SessionBytes(const ServerOptions& options) {
    return options.memory_bytes != 0 ? options.memory_bytes : DefaultMemoryBytes();
  }
  // Of what is under way: a sixth of what sessions have for messages, and as much for what streams
  // put together, for replies, and for gRPC. Each has its own, so that streams at rest refuse no
  // message.
  static uint64_t ShareBytes(const ServerOptions& options) {
    return options.message_bytes != 0 ? options.message_bytes
                                      : std::max(kMinWireBytes, SessionBytes(options) / 6);
  }
  // The log refuses nothing, so it comes first and hears of every call.
  std::vector<Doorkeeper*> Doorkeepers(const ServerOptions& options) {
    std::vector<Doorkeeper*> keepers = {&log};
    keepers.insert(keepers.end(), options.doorkeepers.begin(), options.doorkeepers.end());
    return keepers;
  }
  // The pool is made after its environment, which must outlive it.
  ComputePool& Pool() { return pool; }
  ServiceContext Context() { return {door, sessions, factory, uploads, pool, budgets, stop}; }

  StopSignals stop;
  CallLog log;
  Budgets budgets;
  SessionTable sessions;
  PoolEnv env;
  SessionFactory factory;
  Uploads uploads;
  Door door;
  ComputePool pool;
  SessionService session_service;
  TrainingService training_service;
  SearchService search_service;
  std::unique_ptr<grpc::Server> grpc;
  std::string address;
};

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() { Stop(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  std::string host;
  TALWEG_RETURN_IF_ERROR(CheckAddress(options, host));
  auto parts = std::make_unique<Parts>(options);

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(options.address, grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetResourceQuota(
      grpc::ResourceQuota("wire").Resize(std::max(kMinWireBytes, parts->budgets.messages.limit())));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMilliseconds);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPongMilliseconds);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // However long only pings go either way: a worker may wait long for its round.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Clients may watch their connection as closely.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kPingMilliseconds / 3);
  // Left to itself, gRPC widens what a stream may send ahead by the round trip that it measures.
  // That is long if a busy server reads late: 64 streams of 64 MiB brought 2 GiB that nobody had
  // granted. The message that is being read comes on top, so with chunks of 1 MiB 1.5 MiB are under
  // way.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kLookaheadBytes);
  // Otherwise a second server on the same port would silently get a share of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.RegisterService(&parts->session_service);
  builder.RegisterService(&parts->training_service);
  builder.RegisterService(&parts->search_service);
  parts->grpc = builder.BuildAndStart();
  if (parts->grpc == nullptr || port == 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options.address, ": ",
                                               WhyNotListening(options.address, host)));
  }
  parts->address = absl::StrCat(host, ":", port);
  auto* health = parts->grpc->GetHealthCheckService();
  health->SetServingStatus("live", true);
  health->SetServingStatus("ready", true);
  return std::unique_ptr<Server>(new Server(std::move(parts)));
}

const std::string& Server::address() const { return parts_->address; }

void Server::NotReady() {
  auto* health = parts_->grpc->GetHealthCheckService();
  health->SetServingStatus("ready", false);
  health->SetServingStatus("", false);
}

uint64_t Server::message_bytes() const {
  return parts_->budgets.messages.used() + parts_->budgets.staging.used();
}

uint64_t Server::session_bytes() const { return parts_->budgets.sessions.used(); }

bool Server::streams_wait() const { return parts_->budgets.staging.AnyoneWaits(); }

void Server::Refuse() {
  parts_->stop.Give();
  parts_->sessions.Drain(parts_->stop.gate.Check());
  parts_->session_service.EndWatches();
}

void Server::Stop(absl::Duration grace) {
  const absl::Time deadline = WallNow() + grace;
  Refuse();
  absl::SleepFor(std::min(grace, kRefusal));
  parts_->session_service.CutWatches();
  parts_->grpc->Shutdown(absl::ToChronoTime(deadline));
}

}  // namespace talweg::server
