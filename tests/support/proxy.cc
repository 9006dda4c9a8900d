// SPDX-License-Identifier: Apache-2.0
#include "tests/support/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

namespace talweg::testing {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

bool SendAll(int to, const char* data, ssize_t size) {
  while (size > 0) {
    const ssize_t sent = send(to, data, static_cast<size_t>(size), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    size -= sent;
  }
  return true;
}

}  // namespace

Proxy::Proxy(int target_port) : target_port_(target_port) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener_, 64) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("proxy cannot listen");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

Proxy::~Proxy() {
  stopping_ = true;
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
  CutAndHeal();
  for (Link& link : links_) {
    link.upstream.join();
    link.downstream.join();
    close(link.client);
    close(link.server);
  }
}

std::string Proxy::address() const { return "127.0.0.1:" + std::to_string(port_); }

void Proxy::DropReplies() { dropping_ = true; }

void Proxy::FallSilent() { silent_ = true; }

void Proxy::HoldRequests() {
  num_held_ = num_connections_.load();
  hold_ = Hold::kEverything;
}

void Proxy::DeliverLate() {
  hold_ = Hold::kAllButTheFirst;
  hold_.notify_all();
}

void Proxy::CutAfter(bool from_server, int64_t bytes) { until_cut_[from_server] = bytes; }

void Proxy::CutAndHeal() {
  std::lock_guard<std::mutex> lock(mutex_);
  // Descriptors stay ours until the end, so that no relay ever writes into somebody else's.
  for (Link& link : links_) {
    shutdown(link.client, SHUT_RDWR);
    shutdown(link.server, SHUT_RDWR);
  }
  dropping_ = false;
  hold_ = Hold::kNothing;
  hold_.notify_all();
  silent_ = false;
  silent_.notify_all();
}

void Proxy::Accept() {
  while (!stopping_) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in target = Loopback(target_port_);
    if (connect(server, reinterpret_cast<const sockaddr*>(&target), sizeof(target)) != 0) {
      close(client);
      close(server);
      continue;
    }
    const size_t number = ++num_connections_;
    std::lock_guard<std::mutex> lock(mutex_);
    Link& link = links_.emplace_back();
    link.client = client;
    link.server = server;
    link.upstream = std::thread([=, this] { Relay(client, server, false, number); });
    link.downstream = std::thread([=, this] { Relay(server, client, true, number); });
  }
}

void Proxy::Relay(int from, int to, bool from_server, size_t number) {
  char buffer[65536];
  while (true) {
    const ssize_t size = recv(from, buffer, sizeof(buffer), 0);
    if (size <= 0) break;
    if ((from_server && dropping_) || silent_) continue;
    if (!from_server && number <= num_held_ && hold_ != Hold::kNothing) {
      hold_.wait(Hold::kEverything);
      if (!SendAll(to, buffer, size)) break;
      hold_.wait(Hold::kAllButTheFirst);
      continue;
    }
    // The relay that crosses the mark passes what is before it on, and cuts.
    std::atomic<int64_t>& until_cut = until_cut_[from_server];
    const int64_t before = until_cut == kNever ? kNever : until_cut.fetch_sub(size);
    if (before < size && before >= 0) {
      until_cut = kNever;
      SendAll(to, buffer, before);
      CutAndHeal();
      break;
    }
    if (!SendAll(to, buffer, size)) break;
    num_bytes_[from_server] += static_cast<uint64_t>(size);
  }
  silent_.wait(true);  // an end, too, is something to be told
  shutdown(from, SHUT_RDWR);
  shutdown(to, SHUT_RDWR);
}

}  // namespace talweg::testing
