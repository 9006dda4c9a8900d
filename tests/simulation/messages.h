// SPDX-License-Identifier: Apache-2.0
//
// The messages of the simulated network, and the queue that holds everything that is yet to happen.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <queue>
#include <string>
#include <vector>

#include "core/rounds/event.h"
#include "tests/simulation/random.h"
#include "tests/simulation/trace.h"

namespace talweg::simulation {

// "w000017": the names are in the order of the numbers.
inline std::string WorkerName(uint32_t worker) {
  std::string name = "w000000";
  for (size_t place = name.size() - 1; place > 0; --place, worker /= 10) {
    name[place] = static_cast<char>('0' + worker % 10);
  }
  return name;
}
inline uint32_t WorkerOf(const std::string& name) {
  uint32_t worker = 0;
  for (size_t index = 1; index < name.size(); ++index) {
    worker = worker * 10 + static_cast<uint32_t>(name[index] - '0');
  }
  return worker;
}

// What names a contribution for ever: incarnations are never issued twice.
struct Key {
  uint32_t worker = 0;
  uint64_t incarnation = 0;
  uint64_t sequence = 0;

  bool operator==(const Key& other) const {
    return worker == other.worker && incarnation == other.incarnation && sequence == other.sequence;
  }
  template <class H>
  friend H AbslHashValue(H state, const Key& key) {
    return H::combine(std::move(state), key.worker, key.incarnation, key.sequence);
  }
};

// What a worker sends beside its key. Its gradient follows from `content`.
struct Payload {
  uint64_t base_version = 0;
  uint64_t content = 0;
  bool finite = true;
  float weight = 1;
  std::optional<double> loss;
  bool closes_round = false;
  bool abstains = false;
};

enum class Subject : uint8_t { kJoin, kPull, kHeartbeat, kLeave, kContribute };

struct Request {
  Subject subject = Subject::kJoin;
  uint32_t process = 0;  // that sent it
  uint64_t call = 0;     // of that process
  bool gradient = true;  // role of a joiner
  uint64_t nonce = 0;    // of a joiner; 0 for none
  uint64_t history = 0;
  Key key;  // sequence 0 if it is no contribution
  Payload payload;
  bool may_wait = true;
};

struct Reply {
  Subject subject = Subject::kJoin;
  uint32_t process = 0;
  uint64_t call = 0;
  std::string error;  // a reason's name; "" for none, "UNREACHABLE" if no server answered
  uint64_t history = 0;
  uint64_t version = 0;
  uint64_t incarnation = 0;
  uint64_t lease_seconds = 0;
  core::Answer answer;
};

enum class Happening : uint8_t {
  kRequest,  // arrives at the server; `index` in the network's requests
  kReply,    // arrives at a process
  kWake,     // a process's own timer; `index` is the process, `number` the timer's generation
  kBeat,     // a process's heartbeat timer
  kBroken,   // the server learns that the caller of ticket `number` is gone
  kAlarm,    // one of the server's rings
  kTask,     // something that takes the server time is finished
  kWorkerFault,
  kServerCrash,
  kServerStart,
  kDelete,
  kConfigure,
  kClockJump,
  kSnapshot,
  kCalm,
  kEnd,
};

struct Occasion {
  Nanoseconds time = 0;
  uint64_t order = 0;  // of several at one time, the one that was planned first comes first
  Happening happening = Happening::kEnd;
  uint32_t index = 0;
  uint64_t number = 0;

  bool operator>(const Occasion& other) const {
    return time != other.time ? time > other.time : order > other.order;
  }
};

// Virtual time. Occasions that are far off lie unsorted in bags, one bag for each slice of time, so
// a million timers cost little. Most of these timers will mean nothing when they ring.
class Agenda {
 public:
  Nanoseconds now() const { return now_; }
  void At(Nanoseconds time, Happening happening, uint32_t index = 0, uint64_t number = 0) {
    const Occasion occasion{std::max(time, now_), ++order_, happening, index, number};
    if (SliceOf(occasion.time) <= slice_) {
      soon_.push(occasion);
    } else {
      later_[SliceOf(occasion.time)].push_back(occasion);
    }
  }
  void In(Nanoseconds delay, Happening happening, uint32_t index = 0, uint64_t number = 0) {
    At(now_ + delay, happening, index, number);
  }
  // There always is a next occasion, because a world ends by one.
  Occasion Next() {
    while (soon_.empty()) {
      const auto next = later_.begin();
      slice_ = next->first;
      for (const Occasion& occasion : next->second) soon_.push(occasion);
      later_.erase(next);
    }
    const Occasion occasion = soon_.top();
    soon_.pop();
    now_ = occasion.time;
    return occasion;
  }

 private:
  static int64_t SliceOf(Nanoseconds time) { return time >> 23; }  // 8 ms

  std::priority_queue<Occasion, std::vector<Occasion>, std::greater<>> soon_;
  std::map<int64_t, std::vector<Occasion>> later_;
  int64_t slice_ = 0;
  Nanoseconds now_ = 0;
  uint64_t order_ = 0;
};

}  // namespace talweg::simulation
