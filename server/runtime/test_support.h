// SPDX-License-Identifier: Apache-2.0
//
// For tests only, shared by the tests of this room: a gate, a log of words, answers to wait for,
// the configuration of a small session.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/layout.h"
#include "core/optimizers/registry.h"
#include "core/schedules/schedule.h"
#include "core/session/session_config.h"
#include "server/runtime/compute_pool.h"
#include "server/runtime/env.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// A gate that is opened once; threads that wait at it go on then. Thread-safe.
class Gate {
 public:
  void Open() { open_.set_value(); }
  void Wait() const { opened_.wait(); }

 private:
  std::promise<void> open_;
  std::shared_future<void> opened_ = open_.get_future().share();
};

// The environment of hosts on this pool. It lives as long as the program, because the last task of
// a host may end after the test has released the host.
inline Env& EnvOf(ComputePool& pool) {
  static Mutex mutex;
  static std::deque<PoolEnv> envs;
  MutexLock lock(mutex);
  return envs.emplace_back(pool);
}

// Words in the order in which they were said. Thread-safe.
class OrderLog {
 public:
  void Add(std::string word) {
    MutexLock lock(mutex_);
    words_.push_back(std::move(word));
  }
  std::vector<std::string> words() {
    MutexLock lock(mutex_);
    return words_;
  }

 private:
  Mutex mutex_;
  std::vector<std::string> words_ ABSL_GUARDED_BY(mutex_);
};

// The answer to a call: what its callback was given, or will be given.
template <class T>
class Reply {
 public:
  // The callback, to be handed out once.
  absl::AnyInvocable<void(T)> Callback() {
    return [promise = promise_](T value) { promise->set_value(std::move(value)); };
  }
  bool Ready() const {
    return value_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }
  const T& Get() const { return value_.get(); }

 private:
  std::shared_ptr<std::promise<T>> promise_ = std::make_shared<std::promise<T>>();
  std::shared_future<T> value_ = promise_->get_future().share();
};

// Gradient descent over one vector at a constant rate; any staleness is accepted.
inline core::SessionConfig TestConfig(uint64_t num_elements, double learning_rate = 0.5) {
  core::AggregationConfig aggregation;
  aggregation.max_staleness = 1'000'000;
  core::RateConfig rate;
  rate.learning_rate = learning_rate;
  const core::Method* method = core::FindMethod("gradient_descent");
  const core::DecayKind* kind = core::FindDecayKind("constant");
  core::SessionConfig config{
      std::make_shared<const core::Layout>(*core::Layout::Create({{"w", {num_elements}}})), method,
      std::shared_ptr<const core::Config>(method->default_config()),
      core::Schedule(core::ConfigOf(rate), *kind, kind->default_config()),
      core::ConfigOf(aggregation)};
  EXPECT_TRUE(config.Resolve().ok());
  return config;
}

// The bytes of `values`, as they come from the wire. The result borrows from `values`.
inline absl::string_view BytesOf(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

}  // namespace talweg::server
