// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/generation_records.h"

#include <utility>

namespace talweg::server {

uint64_t GenerationRecords::BytesOf(const ClosedGeneration& closed,
                                    const core::SessionConfig* neighbour) {
  const core::GenerationRecord& record = *closed.record;
  uint64_t bytes = sizeof(record) + sizeof(closed) + record.pairs.size() * sizeof(uint32_t) +
                   record.losses.size() * sizeof(double);
  if (closed.config == nullptr || closed.config.get() == neighbour) return bytes;
  bytes += sizeof(core::SessionConfig) + closed.config->group_map->memory_bytes();
  for (const core::ParameterGroup& group : closed.config->groups) {
    bytes += sizeof(group) + group.tensors.size();
  }
  return bytes;
}

void GenerationRecords::Append(ClosedGeneration closed) {
  // What is dropped is freed after the lock is released.
  std::deque<ClosedGeneration> dropped;
  MutexLock lock(mutex_);
  if (closed_) return;
  bytes_ += BytesOf(closed, entries_.empty() ? nullptr : entries_.back().config.get());
  entries_.push_back(std::move(closed));
  while (entries_.size() > 1 && bytes_ > core::SearchConfig::kRecordBytes) {
    bytes_ -= BytesOf(entries_.front(), entries_[1].config.get());
    dropped.push_back(std::move(entries_.front()));
    entries_.pop_front();
  }
}

void GenerationRecords::Close() {
  std::deque<ClosedGeneration> dropped;
  MutexLock lock(mutex_);
  closed_ = true;
  bytes_ = 0;
  dropped.swap(entries_);
}

std::optional<ClosedGeneration> GenerationRecords::Of(uint64_t version) const {
  MutexLock lock(mutex_);
  if (entries_.empty()) return std::nullopt;
  const uint64_t oldest = entries_.front().record->version;
  if (version < oldest || version - oldest >= entries_.size()) return std::nullopt;
  return entries_[version - oldest];
}

uint64_t GenerationRecords::bytes() const {
  MutexLock lock(mutex_);
  return bytes_;
}

}  // namespace talweg::server
