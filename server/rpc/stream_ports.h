// SPDX-License-Identifier: Apache-2.0
//
// The machine of a stream connected to the server: a real session and the budget of staging, whose
// answers come back as operations in the stream's own queue. No gRPC.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "server/rpc/stream_machine.h"
#include "server/runtime/memory_budget.h"
#include "server/runtime/session_host.h"

namespace talweg::server {

// Runs an event in the stream's queue, unless the stream is over or gone by then. Thread-safe; may
// outlive the stream.
using PostToStream = std::function<void(absl::AnyInvocable<void(StreamMachine&)>)>;

// The session of a stream: its real host. Thread-compatible; the answers come through `post`.
class HostedSession final : public StreamSession {
 public:
  // `more_may_come` gives the argument of that name of StreamMachine::Judged.
  HostedSession(std::shared_ptr<SessionHost> host, PostToStream post,
                std::function<bool()> more_may_come);
  ~HostedSession() override;

  const std::string& id() const override { return host_->identity().session_id; }
  uint64_t history() const override { return host_->identity().history; }
  uint64_t num_elements() const override { return host_->num_elements(); }
  std::shared_ptr<const core::GroupMap> group_map() const override { return host_->group_map(); }
  std::shared_ptr<const core::LayerTable> layers() const override { return host_->layers(); }
  absl::Status CheckHistory(uint64_t history) const override {
    return host_->CheckHistory(history);
  }
  void AwaitMade() override;
  void Step(StepInput input) override;
  void Abandon() override { host_->Abandon(ticket_); }
  void ShowLife(core::Heartbeat heartbeat) override;

 private:
  const std::shared_ptr<SessionHost> host_;
  const PostToStream post_;
  const std::function<bool()> more_may_come_;
  uint64_t deletion_listener_ = 0;
  uint64_t ticket_ = 0;  // of the contribution that the host has
};

// The memory of a stream: its part of the budget of staging. Thread-compatible; the answers come
// through `post`.
class StagingMemory final : public StreamMemory {
 public:
  StagingMemory(MemoryBudget& budget, PostToStream post)
      : budget_(budget), post_(std::move(post)) {}
  ~StagingMemory() override { StopWatching(); }

  absl::Status Ask(uint64_t bytes) override;
  void StopAsking() override { budget_.Forget(place_); }
  bool OthersWait() const override { return budget_.AnyoneWaits(); }
  void WatchForOthers() override;
  void StopWatching() override { budget_.wanted().Forget(listener_); }

 private:
  MemoryBudget& budget_;
  const PostToStream post_;
  uint64_t place_ = 0;  // in the line for memory
  uint64_t listener_ = 0;
};

}  // namespace talweg::server
