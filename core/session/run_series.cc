// SPDX-License-Identifier: Apache-2.0
#include "core/session/run_series.h"

#include <algorithm>

#include "core/base/check.h"

namespace talweg::core {

void RunSeries::Append(const RunRecord& record) {
  TALWEG_CHECK(record.version > newest_version());
  // The newest record until now goes if it had its place only as the newest.
  if (num_appended_ > 0 && (num_appended_ - 1) % stride_ != 0) records_.pop_back();
  if (records_.size() == kCapacity) {
    for (size_t index = 0; index < kCapacity / 2; ++index) records_[index] = records_[2 * index];
    records_.resize(kCapacity / 2);
    stride_ *= 2;
  }
  records_.push_back(record);
  ++num_appended_;
}

void RunSeries::CopyAfter(uint64_t version, size_t limit, std::vector<RunRecord>& to) const {
  const auto first = std::upper_bound(
      records_.begin(), records_.end(), version,
      [](uint64_t after, const RunRecord& record) { return after < record.version; });
  const auto count = std::min<ptrdiff_t>(static_cast<ptrdiff_t>(limit), records_.end() - first);
  to.insert(to.end(), first, first + count);
}

}  // namespace talweg::core
