// SPDX-License-Identifier: Apache-2.0
//
// One watcher of a session's steps, without gRPC: what it is told next, and when its stream ends.
//
// It looks (on the pool), writes one message of at most kMaxRecords records or, where there is
// nothing new, waits in the session's feed; when the message has gone out it looks again from the
// last version it told. So it costs no thread, a slow reader costs one message, and since the feed
// thins itself out meanwhile, it is told fewer records instead of being owed more and more.
//
// At every time one of Look, the line (a write) and the feed (a wait) has its turn, and only who
// has the turn ends it.
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
  class Line {
   public:
    virtual ~Line() = default;
    // Sends `message`, which stands until Written is called, once.
    virtual void Write(const v1::WatchSessionResponse& message) = 0;
    // Makes a write that is under way fail.
    virtual void Cut() = 0;
    // Ends the stream; the watch calls nothing after it.
    virtual void End(const absl::Status& status) = 0;
  };

  Watch(std::shared_ptr<StepFeed> feed, uint64_t history, const v1::WatchSessionRequest& request,
        const DrainGate& gate, ComputePool& pool, Line& line);

  void Start();
  // The message has gone out, or (not ok) never will.
  void Written(bool ok);
  // The reader has left.
  void Cancelled();
  // Looks about itself, as where the gate was closed, if it waits.
  void Stir();
  // Ends it where its reader does not read.
  void CutIfWriting();
  void Wake() override;

 private:
  void Look();
  bool MakeMessage();

  const std::shared_ptr<StepFeed> feed_;
  const bool follow_;
  const DrainGate& gate_;
  ComputePool& pool_;
  Line& line_;
  std::atomic<bool> cancelled_{false};

  // Of whoever has the turn.
  v1::WatchSessionResponse message_;
  uint64_t last_version_;       // that was told
  const uint64_t until_;        // the newest at the start
  bool told_anything_ = false;  // the first message, which is sent even if it is empty

  Mutex mutex_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  // While the line is cut it must live: what is written meanwhile is judged by who cuts.
  bool cutting_ ABSL_GUARDED_BY(mutex_) = false;
  bool written_while_cutting_ ABSL_GUARDED_BY(mutex_) = false;
};

// The watchers there are, so that a server that stops need not wait for them. Thread-safe.
class WatchList {
 public:
  void Add(std::shared_ptr<Watch> watch);
  void Remove(const std::shared_ptr<Watch>& watch);
  // Those who wait find the gate closed.
  void StirAll();
  // Those who do not read are cut off.
  void CutAll();

 private:
  std::vector<std::shared_ptr<Watch>> All();

  Mutex mutex_;
  std::set<std::shared_ptr<Watch>> watches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace talweg::server
