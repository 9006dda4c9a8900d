// SPDX-License-Identifier: Apache-2.0
//
// A TCP relay on loopback that a test can turn against its users: it can hold back what the server
// says, fall silent without a word, or cut every connection. It stands in for a bad network.
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

  // From now on bytes from the server are read and thrown away; bytes to the server still pass.
  void DropReplies();
  // From now on the relay throws away all bytes in both directions and tells nobody, not even that
  // the other side has ended: connections are half-open, as after a pulled cable, and new
  // connections lead nowhere.
  void FallSilent();
  // On each connection that is open now, the relay holds back the bytes that its client sends next,
  // and all later ones. Connections that come later are relayed faithfully.
  void HoldRequests();
  // The server gets those first bytes now. It gets nothing more over these connections, and does
  // not learn whether their clients have gone.
  void DeliverLate();
  // Closes every open connection, once, after this many more bytes in one direction, even in the
  // middle of a message.
  void CutAfter(bool from_server, int64_t bytes);
  // Ends all of the above, closes every open connection, and relays new connections faithfully
  // again.
  void CutAndHeal();
  // Connections that were ever accepted.
  size_t num_connections() const { return num_connections_; }
  // Bytes that were ever passed on in one direction.
  uint64_t num_bytes(bool from_server) const { return num_bytes_[from_server]; }

 private:
  static constexpr int64_t kNever = INT64_MAX;
  enum class Hold { kNothing, kEverything, kAllButTheFirst };

  struct Link {
    int client = -1;
    int server = -1;
    std::thread upstream;
    std::thread downstream;
  };

  void Accept();
  // `number` counts connections from 1.
  void Relay(int from, int to, bool from_server, size_t number);

  const int target_port_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> dropping_{false};
  std::atomic<bool> silent_{false};
  std::atomic<int64_t> until_cut_[2] = {kNever, kNever};  // bytes to the server, bytes from it
  std::atomic<Hold> hold_{Hold::kNothing};
  std::atomic<size_t> num_held_{0};  // the connections that are held: the first so many
  std::atomic<bool> stopping_{false};
  std::atomic<size_t> num_connections_{0};
  std::atomic<uint64_t> num_bytes_[2] = {0, 0};  // to the server, from it
  std::mutex mutex_;
  std::list<Link> links_;  // guarded by mutex_
  std::thread acceptor_;
};

}  // namespace talweg::testing
