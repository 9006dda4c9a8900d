// SPDX-License-Identifier: Apache-2.0
//
// A TCP relay on loopback that a test can turn against its users: hold back what the server says,
// fall silent without a word, cut every connection. It stands where a bad network would.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <thread>

namespace talweg::testing {

// Thread-safe.
class Proxy {
 public:
  // Relays connections on a free port to 127.0.0.1:`target_port`.
  explicit Proxy(int target_port);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  std::string address() const;

  // From now on bytes from the server are read and thrown away; those to it still pass.
  void DropReplies();
  // From now on whatever comes is thrown away, both ways, and nobody is told, not even of the other
  // side's end: connections are half-open, as after a pulled cable, and new ones lead nowhere.
  void FallSilent();
  // After this many more bytes in one direction every open connection is closed, in the middle of
  // whatever is on its way; once.
  void CutAfter(bool from_server, int64_t bytes);
  // Closes every open connection. New ones are relayed faithfully again.
  void CutAndHeal();
  size_t num_connections() const { return num_connections_; }

 private:
  static constexpr int64_t kNever = INT64_MAX;

  struct Link {
    int client = -1;
    int server = -1;
    std::thread upstream;
    std::thread downstream;
  };

  void Accept();
  void Relay(int from, int to, bool from_server);

  const int target_port_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> dropping_{false};
  std::atomic<bool> silent_{false};
  std::atomic<int64_t> until_cut_[2] = {kNever, kNever};  // bytes to the server, bytes from it
  std::atomic<bool> stopping_{false};
  std::atomic<size_t> num_connections_{0};
  std::mutex mutex_;
  std::list<Link> links_;  // guarded by mutex_
  std::thread acceptor_;
};

}  // namespace talweg::testing
