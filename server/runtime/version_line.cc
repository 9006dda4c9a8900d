// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/version_line.h"

#include <vector>

namespace talweg::server {

uint64_t VersionLine::Add(Wait wait) {
  absl::Status status;
  {
    MutexLock lock(mutex_);
    if (!IsOver(wait)) {
      if (end_.ok()) {
        const uint64_t version = wait.version;
        line_.emplace(Key{version, ++last_}, std::move(wait));
        versions_.emplace(last_, version);
        return last_;
      }
      status = end_;
    }
  }
  wait.callback(std::move(status));
  return 0;
}

bool VersionLine::Forget(uint64_t place) {
  Callback forgotten;  // goes after the lock
  MutexLock lock(mutex_);
  const auto version = versions_.find(place);
  if (version == versions_.end()) return false;
  const auto found = line_.find({version->second, place});
  forgotten = std::move(found->second.callback);
  line_.erase(found);
  versions_.erase(version);
  return true;
}

void VersionLine::Reach(uint64_t version, bool finished) {
  std::vector<Callback> over;
  {
    MutexLock lock(mutex_);
    version_ = version;
    finished_ = finished;
    for (auto next = line_.begin(); next != line_.end();) {
      if (!IsOver(next->second)) {
        if (!finished) break;  // The line is in the order of versions.
        ++next;
        continue;
      }
      over.push_back(std::move(next->second.callback));
      versions_.erase(next->first.second);
      next = line_.erase(next);
    }
  }
  for (Callback& callback : over) callback(absl::OkStatus());
}

void VersionLine::End(const absl::Status& status) {
  std::map<Key, Wait> line;
  absl::Status told;
  {
    MutexLock lock(mutex_);
    if (end_.ok()) end_ = status;
    told = end_;
    line.swap(line_);
    versions_.clear();
  }
  for (auto& [key, wait] : line) wait.callback(told);
}

}  // namespace talweg::server
