// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/stream_ports.h"

#include <utility>

namespace talweg::server {

HostedSession::HostedSession(std::shared_ptr<SessionHost> host, PostToStream post,
                             std::function<bool()> more_may_come)
    : host_(std::move(host)), post_(std::move(post)), more_may_come_(std::move(more_may_come)) {
  deletion_listener_ = host_->deletion().Listen(
      [told = post_] { told([](StreamMachine& machine) { machine.SessionDeleted(); }); });
}

HostedSession::~HostedSession() { host_->deletion().Forget(deletion_listener_); }

void HostedSession::AwaitMade() {
  // Answers when the session is made.
  host_->Read(
      core::Session::Point::kParameters, [told = post_](const absl::StatusOr<PointOutcome>& made) {
        told([status = made.status()](StreamMachine& machine) { machine.SessionMade(status); });
      });
}

void HostedSession::Step(StepInput input) {
  ticket_ = host_->Step(std::move(input),
                        [told = post_, more = more_may_come_](absl::StatusOr<StepOutcome> outcome) {
                          told([more, outcome = std::move(outcome)](StreamMachine& machine) {
                            machine.Judged(outcome, more());
                          });
                        });
}

void HostedSession::ShowLife(core::Heartbeat heartbeat) {
  host_->Heartbeat(std::move(heartbeat), [](const absl::StatusOr<JoinOutcome>&) {});
}

absl::Status StagingMemory::Ask(uint64_t bytes) {
  const absl::StatusOr<uint64_t> place =
      budget_.ReserveLater(bytes, [told = post_](MemoryBudget::Reservation memory) {
        told([memory = std::move(memory)](StreamMachine& machine) mutable {
          machine.Granted(std::move(memory));
        });
      });
  if (place.ok()) place_ = *place;
  return place.status();
}

void StagingMemory::WatchForOthers() {
  StopWatching();
  listener_ = budget_.wanted().Listen(
      [told = post_] { told([](StreamMachine& machine) { machine.Wanted(); }); });
}

}  // namespace talweg::server
