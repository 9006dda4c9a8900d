// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/watch_session.h"

#include <utility>

#include "core/base/reasons.h"
#include "server/wire/record_to_proto.h"

namespace talweg::server {

Watch::Watch(std::shared_ptr<StepFeed> feed, uint64_t history,
             const v1::WatchSessionRequest& request, const DrainGate& gate, ComputePool& pool,
             Output& output)
    : feed_(std::move(feed)),
      history_(history),
      follow_(request.follow()),
      gate_(gate),
      pool_(pool),
      output_(output),
      last_version_(request.after_version()),
      until_(feed_->newest_version()) {}

void Watch::Start() { Wake(); }

void Watch::Wake() {
  pool_.Post([self = shared_from_this()] { self->Look(); });
}

// Makes the next message; false if there is nothing to tell.
bool Watch::MakeMessage() {
  const std::vector<core::RunRecord> records = feed_->After(last_version_, kMaxRecords);
  RecordsToProto(history_, records, message_);
  if (!records.empty()) last_version_ = records.back().version;
  return !records.empty() || !told_anything_;
}

void Watch::Look() {
  do {
    if (cancelled_) return output_.End(absl::CancelledError("the watcher has gone"));
    if (feed_->closed()) {
      return output_.End(core::MakeError(core::Reason::kSessionDeleted, "the session was deleted"));
    }
    const absl::Status open = gate_.Check();
    if (!open.ok()) return output_.End(open);
    if (told_anything_ && !follow_ && last_version_ >= until_) return output_.End(absl::OkStatus());
    if (MakeMessage()) {
      told_anything_ = true;
      {
        MutexLock lock(mutex_);
        writing_ = true;
      }
      return output_.Write(message_);
    }
  } while (!feed_->Await(last_version_, *this));
}

void Watch::Written(bool ok) {
  {
    MutexLock lock(mutex_);
    writing_ = false;
    if (cutting_) {
      written_while_cutting_ = true;
      return;
    }
  }
  if (!ok) return output_.End(absl::CancelledError("the watcher has gone"));
  Wake();
}

void Watch::Cancelled() {
  cancelled_ = true;
  Stir();
}

void Watch::Stir() {
  restless_ = true;
  if (feed_->Forget(*this)) Wake();
}

void Watch::CutIfWriting() {
  {
    MutexLock lock(mutex_);
    if (!writing_ || cutting_) return;
    cutting_ = true;
  }
  output_.Cut();
  {
    MutexLock lock(mutex_);
    cutting_ = false;
    if (!written_while_cutting_) return;
  }
  output_.End(absl::CancelledError("the watcher does not read"));
}

void WatchList::Add(std::shared_ptr<Watch> watch) {
  MutexLock lock(mutex_);
  watches_.insert(std::move(watch));
}

void WatchList::Remove(const std::shared_ptr<Watch>& watch) {
  MutexLock lock(mutex_);
  watches_.erase(watch);
}

std::vector<std::shared_ptr<Watch>> WatchList::All() {
  MutexLock lock(mutex_);
  return {watches_.begin(), watches_.end()};
}

void WatchList::StirAll() {
  for (const auto& watch : All()) watch->Stir();
}

void WatchList::CutAll() {
  for (const auto& watch : All()) watch->CutIfWriting();
}

}  // namespace talweg::server
