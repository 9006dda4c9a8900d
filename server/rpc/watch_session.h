// SPDX-License-Identifier: Apache-2.0
//
// One watcher of a session's steps, without gRPC: what it is told next, and when its stream ends.
//
// A watch looks into the session's feed (on the pool). It writes one message of at most kMaxRecords
// records, or waits in the feed if there is nothing new; when the message has gone out, it looks
// again from the last version that it told. So a watch costs no thread, and a slow reader costs one
// message: the feed thins itself out meanwhile, so such a reader is told fewer records instead of
// being owed more and more.
//
// At every time exactly one of three has the turn: Look, the output (during a write) or the feed
// (during a wait). Only the one that has the turn may end the watch.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "server/ops/drain_gate.h"
#include "server/runtime/compute_pool.h"
#include "server/runtime/mutex.h"
#include "server/runtime/step_feed.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg::server {

// Thread-safe.
class Watch final : public StepFeed::Waiter, public std::enable_shared_from_this<Watch> {
 public:
  static constexpr size_t kMaxRecords = 512;

  // Where the messages go. It lives until after End.
  class Output {
   public:
    virtual ~Output() = default;
    // Sends `message` and then calls Written, once. The message stays unchanged until then.
    virtual void Write(const v1::WatchSessionResponse& message) = 0;
    // Makes a write that is under way fail.
    virtual void Cut() = 0;
    // Ends the stream; the watch calls nothing after it.
    virtual void End(const absl::Status& status) = 0;
  };

  Watch(std::shared_ptr<StepFeed> feed, uint64_t history, const v1::WatchSessionRequest& request,
        const DrainGate& gate, ComputePool& pool, Output& output);

  void Start();
  // The message has gone out, or (not ok) never will.
  void Written(bool ok);
  // The reader has left.
  void Cancelled();
  // Ends the wait, if the watch waits, so that it looks again: the gate may have closed.
  void Stir();
  // Ends the watch if it is writing: its reader does not read.
  void CutIfWriting();
  void Wake() override;

 private:
  void Look();
  bool MakeMessage();

  const std::shared_ptr<StepFeed> feed_;
  const uint64_t history_;
  const bool follow_;
  const DrainGate& gate_;
  ComputePool& pool_;
  Output& output_;
  std::atomic<bool> cancelled_{false};

  // These belong to the one that has the turn.
  v1::WatchSessionResponse message_;
  uint64_t last_version_;       // the last version that was told
  const uint64_t until_;        // the newest version when the watch began
  bool told_anything_ = false;  // whether the first message, which may be empty, was sent

  Mutex mutex_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  // The output must live while it is cut. If a write ends meanwhile, the thread that cuts ends the
  // watch.
  bool cutting_ ABSL_GUARDED_BY(mutex_) = false;
  bool written_while_cutting_ ABSL_GUARDED_BY(mutex_) = false;
};

// All watches there are, so that a server that stops need not wait for them. Thread-safe.
class WatchList {
 public:
  void Add(std::shared_ptr<Watch> watch);
  void Remove(const std::shared_ptr<Watch>& watch);
  // Watches that wait look again, and find the gate closed.
  void StirAll();
  // Watches whose readers do not read are cut off.
  void CutAll();

 private:
  std::vector<std::shared_ptr<Watch>> All();

  Mutex mutex_;
  std::set<std::shared_ptr<Watch>> watches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace talweg::server
