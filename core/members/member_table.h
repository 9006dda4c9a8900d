// SPDX-License-Identifier: Apache-2.0
//
// The members of a session: found by name, close together in memory, each with one alarm. The table
// decides nothing; policies include this file.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/check.h"
#include "core/members/member.h"

namespace talweg::core {

// `M` is derived from Member and adds what its policy knows of a member. Thread-compatible;
// movable. An index stays valid until its member is erased, a reference until the next Insert.
template <class M>
class MemberTable {
  static_assert(std::is_base_of_v<Member, M>);

 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // kNone if there is no member of this name.
  uint32_t Find(absl::string_view name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? kNone : *found;
  }
  // Adds a blank member, whose name must be new, and returns its index.
  uint32_t Insert(const std::string& name) {
    uint32_t index = 0;
    if (free_.empty()) {
      index = static_cast<uint32_t>(members_->size());
      members_->emplace_back();
    } else {
      index = free_.back();
      free_.pop_back();
    }
    (*members_)[index].name = name;
    TALWEG_CHECK(by_name_.insert(index).second);
    return index;
  }
  // Blanks a member, except its name and its alarm. If only its place was kept, it is a member
  // again.
  M& Reset(uint32_t index) {
    return Reset(index, [](const M&, const M&) {});
  }
  // Likewise; `carry_over` is called with the member and its blank successor before that.
  template <class CarryOver>
  M& Reset(uint32_t index, const CarryOver& carry_over) {
    M& member = (*members_)[index];
    if (member.left) --num_left_;
    M blank;
    carry_over(member, blank);
    blank.name = std::move(member.name);
    blank.alarm = member.alarm;
    member = std::move(blank);
    return member;
  }
  // The member has left, but its place is kept until it is erased.
  void KeepPlace(uint32_t index) {
    (*members_)[index].left = true;
    ++num_left_;
  }
  void Erase(uint32_t index) {
    if ((*members_)[index].left) --num_left_;
    TALWEG_CHECK(by_name_.erase(index) == 1);
    (*members_)[index] = M{};  // and no alarm
    DropOvertakenAlarms();
    free_.push_back(index);
  }

  size_t size() const { return by_name_.size(); }  // places that are kept included
  size_t num_members() const { return size() - num_left_; }
  size_t num_left() const { return num_left_; }

  M& operator[](uint32_t index) { return (*members_)[index]; }
  const M& operator[](uint32_t index) const { return (*members_)[index]; }

  // Fetches a member that is looked at soon, so that the memory's latency is hidden.
  void Prefetch(uint32_t index) const {
    const char* bytes = reinterpret_cast<const char*>(&(*members_)[index]);
    for (size_t offset = 0; offset < sizeof(M); offset += 64) {
      __builtin_prefetch(bytes + offset, 1);
    }
  }

  // Calls `at` with every index in use, in no particular order.
  template <class At>
  void ForEach(const At& at) const {
    for (const uint32_t index : by_name_) at(index);
  }
  // Every index in use, in the order of the names.
  std::vector<uint32_t> Sorted() const {
    std::vector<uint32_t> indexes(by_name_.begin(), by_name_.end());
    std::sort(indexes.begin(), indexes.end(),
              [this](uint32_t a, uint32_t b) { return (*members_)[a].name < (*members_)[b].name; });
    return indexes;
  }
  // The member that expired longest ago (the first by name, if several did); kNone if none expired.
  uint32_t LongestExpired() const {
    uint32_t longest = kNone;
    ForEach([&](uint32_t index) {
      const M& member = (*members_)[index];
      if (member.live || member.left) return;
      if (longest != kNone) {
        const M& other = (*members_)[longest];
        if (std::pair(member.lease_end, absl::string_view(member.name)) >
            std::pair(other.lease_end, absl::string_view(other.name))) {
          return;
        }
      }
      longest = index;
    });
    return longest;
  }

  // --- Alarms. Each member has one alarm, which may ring early but never late.

  // Does nothing if an earlier alarm is set.
  void SetAlarm(uint32_t index, absl::Time time) {
    std::vector<M>& members = *members_;
    if (members[index].alarm <= time) return;
    members[index].alarm = time;
    alarms_.push({time, index});
    // An overtaken alarm goes when its time comes, or once those that were overtaken outnumber the
    // others.
    if (alarms_.size() > 2 * members.size() + 16) {
      alarms_ = {};
      for (uint32_t each = 0; each < members.size(); ++each) {
        if (members[each].alarm < absl::InfiniteFuture()) alarms_.push({members[each].alarm, each});
      }
    }
  }
  // Returns a member whose alarm rings by `now`, and clears that alarm; kNone if no alarm rings.
  uint32_t PopRinging(absl::Time now) {
    if (alarms_.empty() || alarms_.top().time > now) return kNone;
    const uint32_t index = alarms_.top().index;
    alarms_.pop();
    (*members_)[index].alarm = absl::InfiniteFuture();
    DropOvertakenAlarms();
    return index;
  }
  // InfiniteFuture if no alarm is set.
  absl::Time EarliestAlarm() const {
    return alarms_.empty() ? absl::InfiniteFuture() : alarms_.top().time;
  }
  // Gives every live member an alarm at `time` and takes all others away.
  void RingAll(absl::Time time) {
    alarms_ = {};
    for (M& member : *members_) member.alarm = absl::InfiniteFuture();
    ForEach([&](uint32_t index) {
      if ((*members_)[index].live) SetAlarm(index, time);
    });
  }

 private:
  struct ByName {
    using is_transparent = void;
    const std::vector<M>* members;
    absl::string_view NameOf(uint32_t index) const { return (*members)[index].name; }
    absl::string_view NameOf(absl::string_view name) const { return name; }
    template <class A>
    size_t operator()(const A& a) const {
      return absl::Hash<absl::string_view>()(NameOf(a));
    }
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return NameOf(a) == NameOf(b);
    }
  };
  struct Alarm {
    absl::Time time;
    uint32_t index;
    bool operator>(const Alarm& other) const { return time > other.time; }
  };

  void DropOvertakenAlarms() {
    while (!alarms_.empty() && (*members_)[alarms_.top().index].alarm != alarms_.top().time) {
      alarms_.pop();
    }
  }

  // Allocated by itself, so that `by_name_` still points to it after the table has moved.
  std::unique_ptr<std::vector<M>> members_ = std::make_unique<std::vector<M>>();
  std::vector<uint32_t> free_;
  absl::flat_hash_set<uint32_t, ByName, ByName> by_name_{0, ByName{members_.get()},
                                                         ByName{members_.get()}};
  size_t num_left_ = 0;
  // The earliest entry is the alarm of its member. Other entries may have been overtaken: their
  // member has an earlier alarm now.
  std::priority_queue<Alarm, std::vector<Alarm>, std::greater<>> alarms_;
};

}  // namespace talweg::core
