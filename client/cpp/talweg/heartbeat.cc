// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/heartbeat.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "client/cpp/talweg/retry.h"
#include "client/cpp/talweg/status.h"

namespace talweg {
namespace {

constexpr absl::Duration kLongestCall = absl::Seconds(5);
// How soon a stop is noticed while the connection is lost, and how soon after a lost heartbeat the
// next one may follow.
constexpr absl::Duration kLook = absl::Milliseconds(100);

}  // namespace

Heartbeat::Heartbeat(std::unique_ptr<Transport> transport, const v1::HeartbeatRequest& request,
                     absl::Duration lease)
    : transport_(std::move(transport)), thread_([this, request, lease] { Run(request, lease); }) {}

Heartbeat::~Heartbeat() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  thread_.join();
}

absl::Status Heartbeat::ended() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return ended_;
}

void Heartbeat::Run(v1::HeartbeatRequest request, absl::Duration lease) {
  absl::Duration interval = lease / 3;
  bool lost = false;  // the last heartbeat
  while (!(lost ? WaitForConnection(interval) : WaitForStop(interval))) {
    v1::HeartbeatResponse response;
    const absl::Status status =
        transport_->Call(request, response, std::min(interval, kLongestCall));
    lost = !status.ok();
    if (status.ok()) {
      interval = absl::Seconds(static_cast<int64_t>(response.lease_seconds())) / 3;
    } else if (!IsRetryable(status) && !ReasonOf(status).empty()) {
      // The server's word; anything else may pass.
      const std::lock_guard<std::mutex> lock(mutex_);
      ended_ = status;
      return;
    } else if (absl::IsDeadlineExceeded(status)) {
      transport_->Reconnect();
    }
  }
}

bool Heartbeat::WaitForConnection(absl::Duration duration) {
  const absl::Time end = absl::Now() + duration;
  while (!WaitForStop(absl::ZeroDuration())) {
    const absl::Duration left = end - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    if (transport_->Rest(std::min(left, kLook))) return WaitForStop(kLook);
  }
  return true;
}

bool Heartbeat::WaitForStop(absl::Duration duration) {
  std::unique_lock<std::mutex> lock(mutex_);
  return stopped_.wait_for(lock, absl::ToChronoNanoseconds(duration), [this] { return stop_; });
}

}  // namespace talweg
