// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/memory_budget.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "core/base/bytes_text.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"

namespace talweg::server {

MemoryBudget::Reservation& MemoryBudget::Reservation::operator=(Reservation&& other) noexcept {
  std::swap(budget_, other.budget_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MemoryBudget::Reservation::~Reservation() {
  if (budget_ != nullptr) budget_->Release(bytes_);
}

absl::Status MemoryBudget::Reservation::Resize(uint64_t bytes) {
  if (budget_ != nullptr && bytes < bytes_) budget_->Release(bytes_ - bytes);
  if (budget_ != nullptr && bytes > bytes_) TALWEG_RETURN_IF_ERROR(budget_->Use(bytes - bytes_));
  bytes_ = bytes;
  return absl::OkStatus();
}

absl::StatusOr<MemoryBudget::Reservation> MemoryBudget::Reserve(uint64_t bytes) {
  TALWEG_RETURN_IF_ERROR(Use(bytes));
  return Reservation(*this, bytes);
}

absl::Status MemoryBudget::Check(uint64_t bytes) const {
  const uint64_t now_used = used();
  return bytes <= limit_ - now_used ? absl::OkStatus() : Short(bytes, now_used);
}

absl::Status MemoryBudget::Use(uint64_t bytes) {
  uint64_t used = 0;
  {
    MutexLock lock(mutex_);
    used = used_;
    if (bytes <= limit_ - used_) {
      used_ += bytes;
      return absl::OkStatus();
    }
  }
  return Short(bytes, used);
}

absl::StatusOr<uint64_t> MemoryBudget::ReserveLater(uint64_t bytes, Granted granted) {
  if (bytes > limit_) return Short(bytes, used());
  uint64_t place = 0;
  {
    MutexLock lock(mutex_);
    if (line_.size() < max_waiting_) {
      place = ++last_place_;
      line_.emplace(place, Waiter{bytes, std::move(granted)});
    }
  }
  if (place == 0) {
    return core::MakeError(
        core::Reason::kMemoryQuota, absl::StrCat(max_waiting_, " others wait for memory already"),
        "", {{"asked_bytes", absl::StrCat(bytes)}, {"allowed_bytes", absl::StrCat(limit_)}});
  }
  Serve();
  bool waits = false;
  {
    MutexLock lock(mutex_);
    waits = line_.count(place) > 0;
  }
  if (waits) wanted_.Pulse();
  return place;
}

bool MemoryBudget::Forget(uint64_t place) {
  Waiter forgotten;  // goes after the lock
  {
    MutexLock lock(mutex_);
    const auto found = line_.find(place);
    if (found == line_.end()) return false;
    forgotten = std::move(found->second);
    line_.erase(found);
  }
  Serve();
  return true;
}

bool MemoryBudget::AnyoneWaits() const {
  MutexLock lock(mutex_);
  return !line_.empty();
}

void MemoryBudget::Serve() {
  while (true) {
    Waiter first;
    {
      MutexLock lock(mutex_);
      if (line_.empty() || line_.begin()->second.bytes > limit_ - used_) return;
      first = std::move(line_.begin()->second);
      line_.erase(line_.begin());
      used_ += first.bytes;
    }
    first.granted(Reservation(*this, first.bytes));
  }
}

absl::Status MemoryBudget::Short(uint64_t bytes, uint64_t used) const {
  return core::MakeError(
      core::Reason::kMemoryQuota,
      absl::StrCat("asked for ", core::BytesText(bytes), "; ", core::BytesText(used), " of ",
                   core::BytesText(limit_), " are in use"),
      "",
      {{"asked_bytes", absl::StrCat(bytes)},
       {"used_bytes", absl::StrCat(used)},
       {"allowed_bytes", absl::StrCat(limit_)}});
}

uint64_t MemoryBudget::used() const {
  MutexLock lock(mutex_);
  return used_;
}

void MemoryBudget::Release(uint64_t bytes) {
  {
    MutexLock lock(mutex_);
    used_ -= bytes;
  }
  Serve();
}

uint64_t DefaultMemoryBytes() {
  const uint64_t page = static_cast<uint64_t>(std::max(1L, sysconf(_SC_PAGESIZE)));
  uint64_t bytes = page * static_cast<uint64_t>(std::max(1L, sysconf(_SC_PHYS_PAGES)));
  // cgroup v2: "max" or a number of bytes.
  std::ifstream file("/sys/fs/cgroup/memory.max");
  uint64_t limit = 0;
  if (file >> limit) bytes = std::min(bytes, limit);
  return bytes / 5 * 3;
}

}  // namespace talweg::server
