// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/uploads.h"

#include <utility>
#include <vector>

#include "core/base/reasons.h"

namespace talweg::server {

absl::Status UploadTakenOver() {
  return core::MakeError(core::Reason::kUploadTakenOver, "a newer stream goes on with this upload");
}

Upload::~Upload() { keeper_.let_go(std::move(arrived_)); }

void Upload::Begin(PreparedSession session) {
  arrived_ = std::make_unique<ArrivedValues>(ArrivedValues{std::move(session)});
}

std::unique_ptr<Upload> Uploads::HoldOn(const Key& key, uint64_t number,
                                        std::unique_ptr<ArrivedValues> arrived) {
  return std::make_unique<Upload>(
      std::move(arrived),
      Upload::Keeper{.touch = [this, key, number] { Touch(key, number); },
                     .is_expired = [this, key, number] { return IsExpired(key, number); },
                     .let_go =
                         [this, key, number](std::unique_ptr<ArrivedValues> rest) {
                           LetGo(key, number, std::move(rest));
                         }});
}

uint64_t Uploads::Claim(const SessionIdentity& identity, Tell tell, Claimed claimed) {
  const Key key(identity.session_id, identity.request_id, identity.request_digest);
  std::unique_ptr<ArrivedValues> arrived;
  uint64_t number = 0;
  uint64_t place = 0;
  bool is_new = false;
  Tell holder;
  Claimed served;
  Claimed outrun;  // that waited
  {
    MutexLock lock(mutex_);
    Entry& entry = entries_[key];
    is_new = entry.number == 0;
    if (is_new) {
      entry.number = ++last_number_;
      entry.last_arrival = env_.MonotonicNow();
    }
    number = entry.number;
    if (entry.tell != nullptr) {
      holder = entry.tell;
      outrun = std::move(entry.next_claimed);
      entry.next_tell = std::move(tell);
      entry.next_claimed = std::move(claimed);
      place = entry.place = ++last_number_;
    } else {
      entry.tell = std::move(tell);
      entry.last_arrival = env_.MonotonicNow();
      arrived = std::move(entry.resting);
      served = std::move(claimed);
    }
  }
  if (is_new) {
    DropResting(identity.session_id);
    SetAlarm(key, number, env_.MonotonicNow() + patience_);
  }
  if (outrun != nullptr) outrun(UploadTakenOver());
  if (holder != nullptr) holder(News::kTakenOver);
  if (served != nullptr) served(HoldOn(key, number, std::move(arrived)));
  return place;
}

void Uploads::DropResting(const std::string& session_id) {
  std::vector<Entry> dropped;  // they go after the lock: their memory has a lock of its own
  {
    MutexLock lock(mutex_);
    auto next = entries_.lower_bound(Key(session_id, "", 0));
    while (next != entries_.end() && std::get<0>(next->first) == session_id) {
      if (next->second.tell != nullptr) {
        ++next;
        continue;
      }
      dropped.push_back(std::move(next->second));
      next = entries_.erase(next);
    }
  }
  for (const Entry& entry : dropped) env_.Cancel(entry.alarm);
}

void Uploads::Forget(uint64_t place) {
  Claimed forgotten;  // goes after the lock
  Tell tell;
  MutexLock lock(mutex_);
  for (auto& [key, entry] : entries_) {
    if (place == 0 || entry.place != place) continue;
    entry.place = 0;
    forgotten = std::move(entry.next_claimed);
    tell = std::move(entry.next_tell);
    entry.next_claimed = nullptr;
    entry.next_tell = nullptr;
    return;
  }
}

void Uploads::LetGo(const Key& key, uint64_t number, std::unique_ptr<ArrivedValues> arrived) {
  Claimed next;
  uint64_t alarm = 0;
  {
    MutexLock lock(mutex_);
    Entry* const entry = Find(key, number);
    if (entry == nullptr) return;
    entry->last_arrival = env_.MonotonicNow();
    if (entry->place != 0) {
      next = std::move(entry->next_claimed);
      entry->next_claimed = nullptr;
      entry->tell = std::move(entry->next_tell);
      entry->next_tell = nullptr;
      entry->place = 0;
    } else if (arrived != nullptr && arrived->num_arrived > 0) {
      entry->tell = nullptr;
      entry->resting = std::move(arrived);
    } else {
      alarm = entry->alarm;
      entries_.erase(key);
    }
  }
  if (alarm != 0) env_.Cancel(alarm);
  if (next != nullptr) next(HoldOn(key, number, std::move(arrived)));
}

void Uploads::Touch(const Key& key, uint64_t number) {
  MutexLock lock(mutex_);
  Entry* const entry = Find(key, number);
  if (entry != nullptr) entry->last_arrival = env_.MonotonicNow();
}

bool Uploads::IsExpired(const Key& key, uint64_t number) {
  MutexLock lock(mutex_);
  const Entry* const entry = Find(key, number);
  return entry != nullptr && entry->last_arrival + patience_ <= env_.MonotonicNow();
}

void Uploads::Look(const Key& key, uint64_t number) {
  std::unique_ptr<ArrivedValues> dropped;  // goes after the lock
  Tell holder;
  absl::Time again;
  {
    MutexLock lock(mutex_);
    Entry* const entry = Find(key, number);
    if (entry == nullptr) return;
    const absl::Time now = env_.MonotonicNow();
    again = entry->last_arrival + patience_;
    if (again <= now) {
      if (entry->tell == nullptr) {
        dropped = std::move(entry->resting);
        entries_.erase(key);
        return;
      }
      holder = entry->tell;
      again = now + patience_;
    }
  }
  SetAlarm(key, number, again);
  if (holder != nullptr) holder(News::kExpired);
}

Uploads::Entry* Uploads::Find(const Key& key, uint64_t number) {
  const auto found = entries_.find(key);
  return found != entries_.end() && found->second.number == number ? &found->second : nullptr;
}

// An alarm of an entry that has gone does no harm, and Look finds no entry of that number.
void Uploads::SetAlarm(const Key& key, uint64_t number, absl::Time when) {
  const uint64_t alarm = env_.Arm(
      when, [this, key, number] { env_.Post([this, key, number] { Look(key, number); }); });
  MutexLock lock(mutex_);
  Entry* const entry = Find(key, number);
  if (entry != nullptr) entry->alarm = alarm;
}

size_t Uploads::size() const {
  MutexLock lock(mutex_);
  return entries_.size();
}

}  // namespace talweg::server
