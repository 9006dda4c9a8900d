// SPDX-License-Identifier: Apache-2.0
//
// stream_64m: a float32 Adam step of 64 MiB (16 Mi parameters, what a unary Step can just carry)
// through the client library over StreamStep, without checksums, against the same step over unary
// Step: two sessions of one server process, stepped in turn.
//
// For information a second line compares with a bare TCP echo of the same bytes over loopback, by a
// child process: 64 MiB there, and, once all have come, back.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "client/process/child_process.h"
#include "client/process/program_path.h"
#include "tests/support/server_process.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kElements = size_t{16} << 20;
constexpr size_t kBytes = kElements * sizeof(float);
constexpr int kWarmUp = 2;
constexpr int kRounds = 15;
constexpr double kGoal = 1.5;
constexpr int kSocketBytes = 4 << 20;
constexpr int kConnectMilliseconds = 30000;

double Milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

double Median(std::vector<double>& values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

bool SendAll(int to, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t sent = send(to, data, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

bool ReceiveAll(int from, char* data, size_t size) {
  while (size > 0) {
    const ssize_t received = recv(from, data, size, 0);
    if (received <= 0) return false;
    data += received;
    size -= static_cast<size_t>(received);
  }
  return true;
}

void Tune(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSocketBytes, sizeof(kSocketBytes));
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kSocketBytes, sizeof(kSocketBytes));
}

// A child process that sends back what it gets: this program again, as `stream_bench echo PORT`.
class Echo {
 public:
  Echo() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* where = reinterpret_cast<sockaddr*>(&address);
    Tune(listener);
    if (bind(listener, where, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, where, &size) != 0) {
      return;
    }
    const std::string port = std::to_string(ntohs(address.sin_port));
    child_ = talweg::ChildProcess::Start(talweg::PathOfThisProgram(), {"echo", port}).value();
    // Does not wait for a child that cannot connect.
    pollfd pending = {listener, POLLIN, 0};
    if (poll(&pending, 1, kConnectMilliseconds) == 1) socket_ = accept(listener, nullptr, nullptr);
    Tune(socket_);
    close(listener);
  }
  ~Echo() {
    if (socket_ >= 0) close(socket_);
    if (child_ != nullptr) child_->Wait();
  }

  // The child's side.
  static int Serve(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int peer = socket(AF_INET, SOCK_STREAM, 0);
    Tune(peer);
    if (connect(peer, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return 1;
    std::vector<char> bytes(kBytes);
    while (ReceiveAll(peer, bytes.data(), kBytes) && SendAll(peer, bytes.data(), kBytes)) {
    }
    return 0;
  }

  bool Run(const std::vector<float>& out, std::vector<float>& in) const {
    return socket_ >= 0 && SendAll(socket_, reinterpret_cast<const char*>(out.data()), kBytes) &&
           ReceiveAll(socket_, reinterpret_cast<char*>(in.data()), kBytes);
  }

 private:
  std::unique_ptr<talweg::ChildProcess> child_;
  int socket_ = -1;
};

talweg::v1::CreateSessionRequest AdamSession(const char* id) {
  talweg::v1::CreateSessionRequest request;
  request.set_session_id(id);
  talweg::v1::SessionConfig& config = *request.mutable_config();
  talweg::v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
  tensor.set_name("w");
  tensor.add_shape(kElements);
  config.mutable_optimizer()->mutable_adam();
  config.mutable_schedule()->set_learning_rate(0.5);
  auto& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
  rule.set_tensors("*");
  rule.mutable_constant();
  return request;
}

talweg::Session Join(const talweg::Client& client, const char* id) {
  client.CreateSession(AdamSession(id)).value();
  return client.Join(id, "a").value();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "echo") return Echo::Serve(std::atoi(argv[2]));
  using talweg::testing::ServerProcess;
  const Echo echo;
  const ServerProcess server({"--log_level=error"});
  talweg::ClientOptions options;
  const auto client = talweg::Client::Connect(server.address(), options).value();
  talweg::Session streamed = Join(client, "streamed");
  options.stream_threshold_bytes = kBytes;
  const auto unary_client = talweg::Client::Connect(server.address(), options).value();
  talweg::Session unary = Join(unary_client, "unary");

  std::vector<float> gradient(kElements);
  for (size_t i = 0; i < kElements; ++i) {
    gradient[i] = 1e-3f * static_cast<float>(i % 1001) - 0.5f;
  }
  std::vector<float> parameters(kElements), unary_parameters(kElements), echoed(kElements);
  std::vector<double> stream_times, unary_times, echo_times;
  for (int round = 0; round < kWarmUp + kRounds; ++round) {
    const auto start = Clock::now();
    const auto step = streamed.Step(gradient, absl::MakeSpan(parameters));
    const auto after_stream = Clock::now();
    const auto unary_step = unary.Step(gradient, absl::MakeSpan(unary_parameters));
    const auto after_unary = Clock::now();
    const bool sent_back = echo.Run(gradient, echoed);
    const auto after_echo = Clock::now();
    if (!step.ok() || !step->applied() || !unary_step.ok() || !unary_step->applied() ||
        parameters != unary_parameters || !sent_back || echoed != gradient) {
      std::fprintf(stderr, "stream_64m: a round failed\n");
      return 1;
    }
    if (round < kWarmUp) continue;
    stream_times.push_back(Milliseconds(after_stream - start));
    unary_times.push_back(Milliseconds(after_unary - after_stream));
    echo_times.push_back(Milliseconds(after_echo - after_unary));
  }
  const double ours = Median(stream_times);
  const double peer = Median(unary_times);
  const double bare = Median(echo_times);
  std::printf(
      "bench stream_64m ours %.1f ms peer unary_step %.1f ms ratio %.2f goal >=%g %s\n"
      "info stream_64m ours %.1f ms peer tcp_echo %.1f ms ratio %.2f\n",
      ours, peer, peer / ours, kGoal, peer / ours >= kGoal ? "ok" : "short", ours, bare,
      bare / ours);
  return 0;
}
