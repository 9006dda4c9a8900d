// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/version_line.h"

#include <vector>

namespace talweg::server {

uint64_t VersionLine::Await(uint64_t version, Callback callback) {
  absl::Status status;
  {
    MutexLock lock(mutex_);
    if (version > version_) {
      if (end_.ok()) {
        line_.emplace(Key{version, ++last_}, std::move(callback));
        versions_.emplace(last_, version);
        return last_;
      }
      status = end_;
    }
  }
  callback(std::move(status));
  return 0;
}

bool VersionLine::Forget(uint64_t place) {
  Callback forgotten;  // goes after the lock
  MutexLock lock(mutex_);
  const auto version = versions_.find(place);
  if (version == versions_.end()) return false;
  const auto found = line_.find({version->second, place});
  forgotten = std::move(found->second);
  line_.erase(found);
  versions_.erase(version);
  return true;
}

void VersionLine::Reach(uint64_t version) {
  std::vector<Callback> reached;
  {
    MutexLock lock(mutex_);
    version_ = version;
    while (!line_.empty() && line_.begin()->first.first <= version) {
      const auto first = line_.begin();
      reached.push_back(std::move(first->second));
      versions_.erase(first->first.second);
      line_.erase(first);
    }
  }
  for (Callback& callback : reached) callback(absl::OkStatus());
}

void VersionLine::End(const absl::Status& status) {
  std::map<Key, Callback> line;
  absl::Status told;
  {
    MutexLock lock(mutex_);
    if (end_.ok()) end_ = status;
    told = end_;
    line.swap(line_);
    versions_.clear();
  }
  for (auto& [key, callback] : line) callback(told);
}

}  // namespace talweg::server
