// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/door.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "server/runtime/clock.h"
#include "server/wire/names.h"
#include "server/wire/unknown_fields.h"

namespace talweg::server {

Call::Call(const Door& door, CallFacts facts)
    : door_(door), facts_(std::move(facts)), began_(MonotonicNow()) {
  for (Doorkeeper* keeper : door_.keepers_) {
    let_in_ = keeper->Admit(facts_);
    if (!let_in_.ok()) return;
    ++num_let_in_;
  }
}

absl::Status Call::Admit(const google::protobuf::Message& request) {
  CountIn(request.ByteSizeLong());
  TALWEG_RETURN_IF_ERROR(let_in_);
  TALWEG_RETURN_IF_ERROR(door_.gate_.Check());
  return CheckNoUnknownFields(request);
}

absl::StatusOr<std::shared_ptr<SessionHost>> Call::Enter(const google::protobuf::Message& request,
                                                         const std::string& session_id) {
  TALWEG_RETURN_IF_ERROR(Admit(request));
  TALWEG_RETURN_IF_ERROR(CheckName(session_id, "session_id"));
  return Find(session_id);
}

absl::StatusOr<std::shared_ptr<SessionHost>> Call::Find(const std::string& session_id) {
  Names(session_id);
  TALWEG_ASSIGN_OR_RETURN(std::shared_ptr<SessionHost> host, door_.sessions_.Find(session_id));
  if (!MaySee(*host)) {
    // As the table says it, so that nobody learns from the text what is hidden.
    return core::MakeError(core::Reason::kSessionNotFound,
                           absl::StrCat("no session \"", session_id, "\""));
  }
  return host;
}

absl::StatusOr<std::shared_ptr<SessionHost>> Call::FindSameRequest(
    const SessionIdentity& identity) {
  absl::StatusOr<std::shared_ptr<SessionHost>> made = door_.sessions_.FindSameRequest(identity);
  if (!made.ok() || *made == nullptr || MaySee(**made)) return made;
  return SessionExists(identity.session_id);
}

std::vector<std::shared_ptr<SessionHost>> Call::List(std::string after, size_t limit) {
  std::vector<std::shared_ptr<SessionHost>> seen;
  while (seen.size() < limit) {
    const std::vector<std::shared_ptr<SessionHost>> page =
        door_.sessions_.List(after, limit - seen.size());
    if (page.empty()) break;
    after = page.back()->identity().session_id;
    std::copy_if(page.begin(), page.end(), std::back_inserter(seen),
                 [this](const auto& host) { return MaySee(*host); });
  }
  return seen;
}

bool Call::MaySee(const SessionHost& host) const {
  return std::all_of(door_.keepers_.begin(), door_.keepers_.end(),
                     [&](Doorkeeper* keeper) { return keeper->MaySee(facts_, host.identity()); });
}

void Call::Names(const std::string& session_id) {
  MutexLock lock(mutex_);
  session_id_ = session_id;
}

void Call::SessionCreated(const SessionHost& host) {
  for (Doorkeeper* keeper : door_.keepers_) {
    keeper->SessionCreated(facts_, host.identity(), host.num_elements());
  }
}

void Call::SessionDeleted(const SessionHost& host) {
  for (Doorkeeper* keeper : door_.keepers_) keeper->SessionDeleted(facts_, host.identity());
}

void Call::Decide(const absl::Status& status) {
  MutexLock lock(mutex_);
  if (decided_) return;
  decided_ = true;
  status_ = status;
}

void Call::Over(bool client_has_gone) {
  CallEnd end;
  {
    MutexLock lock(mutex_);
    if (over_) return;
    over_ = true;
    end.status = decided_ ? status_ : absl::CancelledError("the call ended without an answer");
    if (client_has_gone) end.status = absl::CancelledError("the client has gone");
    end.session_id = session_id_;
  }
  end.elapsed = MonotonicNow() - began_;
  end.bytes_in = bytes_in_;
  end.bytes_out = bytes_out_;
  for (size_t index = 0; index < num_let_in_; ++index) door_.keepers_[index]->Ended(facts_, end);
}

}  // namespace talweg::server
