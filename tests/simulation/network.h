// SPDX-License-Identifier: Apache-2.0
//
// The network between workers and server: messages are lost, come twice, come late, and come out of
// order.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/simulation/messages.h"
#include "tests/simulation/world_config.h"

namespace talweg::simulation {

class Network {
 public:
  // Both outlive the network.
  Network(const WorldConfig& world, Random& random, Agenda& agenda)
      : world_(world), random_(random), agenda_(agenda) {}

  void Send(const Request& request);
  void Answer(Reply reply);

  // A message that arrives. Each index may be asked for once.
  Request TakeRequest(uint32_t index) { return Take(requests_, index); }
  Reply TakeReply(uint32_t index) { return Take(replies_, index); }

  // From now on nothing is lost or repeated, and nothing takes long.
  void CalmDown() { calm_ = true; }

  uint64_t num_faults() const { return num_faults_; }

 private:
  template <class Message>
  struct Post {
    std::vector<Message> messages;
    std::vector<uint32_t> free;
  };
  template <class Message>
  static uint32_t Put(Post<Message>& post, Message message) {
    if (post.free.empty()) {
      post.messages.push_back(std::move(message));
      return static_cast<uint32_t>(post.messages.size() - 1);
    }
    const uint32_t index = post.free.back();
    post.free.pop_back();
    post.messages[index] = std::move(message);
    return index;
  }
  template <class Message>
  static Message Take(Post<Message>& post, uint32_t index) {
    post.free.push_back(index);
    return std::move(post.messages[index]);
  }
  bool Strikes(double probability);
  Nanoseconds Delay();

  const WorldConfig& world_;
  Random& random_;
  Agenda& agenda_;
  Post<Request> requests_;
  Post<Reply> replies_;
  bool calm_ = false;
  uint64_t num_faults_ = 0;
};

}  // namespace talweg::simulation
