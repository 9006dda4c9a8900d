// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/version_records.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace talweg::server {
namespace {

// Writes a number in as many bytes as it needs, seven bits per byte, the lowest first. These bytes
// never leave the process.
void Put(uint64_t number, std::string& to) {
  for (; number >= 128; number >>= 7) to.push_back(static_cast<char>(number | 128));
  to.push_back(static_cast<char>(number));
}

void Put(const std::string& text, std::string& to) {
  Put(text.size(), to);
  to += text;
}

void Put(const std::vector<std::string>& texts, std::string& to) {
  Put(texts.size(), to);
  for (const std::string& text : texts) Put(text, to);
}

template <class T>
void PutBits(T value, std::string& to) {
  to.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

class Unpacker {
 public:
  explicit Unpacker(absl::string_view bytes) : rest_(bytes) {}

  bool done() const { return rest_.empty(); }
  uint64_t Number() {
    uint64_t number = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(Take(1)[0]);
      number |= uint64_t{byte & 127u} << shift;
      if (byte < 128) return number;
    }
  }
  std::string Text() {
    const uint64_t size = Number();
    return std::string(Take(size));
  }
  std::vector<std::string> Texts() {
    std::vector<std::string> texts(Number());
    for (std::string& text : texts) text = Text();
    return texts;
  }
  template <class T>
  T Bits() {
    T value;
    std::memcpy(&value, Take(sizeof(value)).data(), sizeof(value));
    return value;
  }

 private:
  absl::string_view Take(size_t size) {
    const absl::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  absl::string_view rest_;
};

// The distance between two times of a record; no time comes before the first.
uint64_t Nanoseconds(absl::Duration since) {
  return static_cast<uint64_t>(absl::ToInt64Nanoseconds(since));
}

std::string Shrunk(std::string bytes) {
  bytes.shrink_to_fit();
  return bytes;
}

std::string Pack(const core::VersionRecord& record, absl::Duration to_wall) {
  std::string bytes;
  Put(record.config_version, bytes);
  Put(record.close_config_version, bytes);
  PutBits(absl::ToUnixNanos(record.opened + to_wall), bytes);
  Put(Nanoseconds(record.closed - record.opened), bytes);
  PutBits(record.total_weight, bytes);
  Put(record.num_late, bytes);
  Put(record.late_workers, bytes);
  Put(record.num_expired, bytes);
  Put(record.expired_workers, bytes);
  Put(record.num_abstained, bytes);
  Put(record.abstained_workers, bytes);
  for (const core::RoundMember& member : record.members) {
    Put(member.worker, bytes);
    Put(member.incarnation, bytes);
    Put(member.sequence, bytes);
    Put(record.version - member.base_version, bytes);
    PutBits(member.weight, bytes);
    Put(Nanoseconds(member.time - record.opened), bytes);
  }
  // Only sessions with layers have what follows.
  const bool has_curvature = !record.statistics.empty() || record.installed_inverses > 0 ||
                             record.inverse_version > 0 || record.loss_change.has_value();
  if (!has_curvature) return Shrunk(std::move(bytes));
  Put(record.installed_inverses, bytes);
  Put(record.inverse_version, bytes);
  PutBits(record.loss_change.value_or(core::LossChange{}), bytes);
  Put(record.statistics.size(), bytes);
  for (const core::StatisticsMember& member : record.statistics) {
    Put(member.worker, bytes);
    Put(member.incarnation, bytes);
    Put(member.sequence, bytes);
    Put(record.version - member.base_version, bytes);
    Put(member.num_samples, bytes);
    // Statistics may come before the first contribution opens the round.
    PutBits(absl::ToInt64Nanoseconds(member.time - record.opened), bytes);
  }
  return Shrunk(std::move(bytes));
}

core::VersionRecord Unpack(uint64_t version, size_t num_members, absl::string_view bytes) {
  Unpacker unpacker(bytes);
  core::VersionRecord record;
  record.version = version;
  record.config_version = unpacker.Number();
  record.close_config_version = unpacker.Number();
  record.opened = absl::FromUnixNanos(unpacker.Bits<int64_t>());
  record.closed = record.opened + absl::Nanoseconds(unpacker.Number());
  record.total_weight = unpacker.Bits<double>();
  record.num_late = static_cast<uint32_t>(unpacker.Number());
  record.late_workers = unpacker.Texts();
  record.num_expired = static_cast<uint32_t>(unpacker.Number());
  record.expired_workers = unpacker.Texts();
  record.num_abstained = static_cast<uint32_t>(unpacker.Number());
  record.abstained_workers = unpacker.Texts();
  record.members.resize(num_members);
  for (core::RoundMember& member : record.members) {
    member.worker = unpacker.Text();
    member.incarnation = unpacker.Number();
    member.sequence = unpacker.Number();
    member.base_version = version - unpacker.Number();
    member.weight = unpacker.Bits<float>();
    member.time = record.opened + absl::Nanoseconds(unpacker.Number());
  }
  if (unpacker.done()) return record;
  record.installed_inverses = unpacker.Number();
  record.inverse_version = unpacker.Number();
  const auto loss_change = unpacker.Bits<core::LossChange>();
  if (loss_change.version > 0) record.loss_change = loss_change;
  record.statistics.resize(unpacker.Number());
  for (core::StatisticsMember& member : record.statistics) {
    member.worker = unpacker.Text();
    member.incarnation = unpacker.Number();
    member.sequence = unpacker.Number();
    member.base_version = version - unpacker.Number();
    member.num_samples = unpacker.Number();
    member.time = record.opened + absl::Nanoseconds(unpacker.Bits<int64_t>());
  }
  return record;
}

// Bytes that an entry needs beside its packed bytes: its place, the counted string, what the
// allocator adds.
constexpr uint64_t kEntryBytes = 112;

}  // namespace

uint64_t VersionRecords::Entry::bytes() const { return packed->capacity() + kEntryBytes; }

void VersionRecords::Append(const core::VersionRecord& record) {
  Entry entry{record.version, record.members.size(),
              std::make_shared<const std::string>(Pack(record, to_wall_))};
  std::vector<Entry> dropped;  // go after the lock
  MutexLock lock(mutex_);
  if (closed_) return;
  // The newest record stays, however large it is.
  num_members_ += entry.num_members;
  while (!entries_.empty() &&
         (entries_.size() >= kMaxRecords || num_members_ > kMaxMembers || bytes_ > max_bytes_)) {
    num_members_ -= entries_.front().num_members;
    bytes_ -= entries_.front().bytes();
    dropped.push_back(std::move(entries_.front()));
    entries_.pop_front();
  }
  bytes_ += entry.bytes();
  entries_.push_back(std::move(entry));
}

void VersionRecords::Close() {
  std::deque<Entry> dropped;  // goes after the lock
  MutexLock lock(mutex_);
  closed_ = true;
  dropped.swap(entries_);
  num_members_ = 0;
  bytes_ = 0;
}

VersionRecords::Page VersionRecords::After(uint64_t version, size_t max_records,
                                           size_t max_members) const {
  std::vector<Entry> entries;
  Page page;
  {
    MutexLock lock(mutex_);
    auto next =
        std::upper_bound(entries_.begin(), entries_.end(), version,
                         [](uint64_t after, const Entry& entry) { return after < entry.version; });
    size_t num_members = 0;
    for (; next != entries_.end() && entries.size() < max_records; ++next) {
      num_members += next->num_members;
      if (!entries.empty() && num_members > max_members) break;
      entries.push_back(*next);
    }
    page.more = next != entries_.end();
  }
  page.records.reserve(entries.size());
  for (const Entry& entry : entries) {
    page.records.push_back(Unpack(entry.version, entry.num_members, *entry.packed));
  }
  return page;
}

uint64_t VersionRecords::bytes() const {
  MutexLock lock(mutex_);
  return bytes_;
}

}  // namespace talweg::server
