// SPDX-License-Identifier: Apache-2.0
#include "server/wire/membership.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/members/identity.h"
#include "core/members/roles.h"
#include "server/wire/names.h"

namespace talweg::server {

using core::MakeError;
using core::Reason;

namespace {

absl::StatusOr<core::Roles> RolesFromProto(const v1::JoinRequest& request) {
  std::set<int> seen;
  for (const int role : request.roles()) {
    if (role == v1::ROLE_UNSPECIFIED || !v1::Role_IsValid(role)) {
      return MakeError(Reason::kFieldOutOfRange,
                       absl::StrCat("roles has the value ", role, ", which is no role"), "roles");
    }
    if (!seen.insert(role).second) {
      return MakeError(Reason::kFieldOutOfRange,
                       absl::StrCat("roles has ", v1::Role_Name(role), " twice"), "roles");
    }
  }
  core::Roles roles;
  for (const auto& [role, named] : {std::pair{core::Role::kGradient, v1::ROLE_GRADIENT},
                                    std::pair{core::Role::kStatistics, v1::ROLE_STATISTICS},
                                    std::pair{core::Role::kSearch, v1::ROLE_SEARCH}}) {
    if (seen.count(named) > 0) roles.Add(role);
  }
  return roles;
}

}  // namespace

absl::Status CheckMember(const std::string& worker, uint64_t history, uint64_t incarnation) {
  TALWEG_RETURN_IF_ERROR(CheckName(worker, "worker"));
  if (history == 0) return MakeError(Reason::kFieldRequired, "history is required", "history");
  if (incarnation == 0) {
    return MakeError(Reason::kFieldRequired, "incarnation is required", "incarnation");
  }
  return absl::OkStatus();
}

absl::StatusOr<core::Heartbeat> HeartbeatFromProto(const v1::HeartbeatRequest& request) {
  TALWEG_RETURN_IF_ERROR(CheckMember(request.worker(), request.history(), request.incarnation()));
  return core::Heartbeat{request.history(), request.worker(), request.incarnation()};
}

absl::StatusOr<core::Leave> LeaveFromProto(const v1::LeaveRequest& request) {
  TALWEG_RETURN_IF_ERROR(CheckMember(request.worker(), request.history(), request.incarnation()));
  return core::Leave{request.history(), request.worker(), request.incarnation()};
}

absl::StatusOr<core::Join> JoinFromProto(const v1::JoinRequest& request) {
  TALWEG_RETURN_IF_ERROR(CheckName(request.worker(), "worker"));
  TALWEG_RETURN_IF_ERROR(CheckRequestId(request.nonce(), "nonce"));
  core::Join join;
  join.worker = request.worker();
  TALWEG_ASSIGN_OR_RETURN(join.roles, RolesFromProto(request));
  join.nonce = core::NonceDigest(request.nonce());
  return join;
}

void JoinToProto(const JoinOutcome& outcome, v1::JoinResponse& proto) {
  proto.set_history(outcome.history);
  proto.set_version(outcome.version);
  proto.set_incarnation(outcome.incarnation);
  proto.set_lease_seconds(outcome.lease_seconds);
  proto.set_replies_wait(outcome.replies_wait);
}

void HeartbeatToProto(const JoinOutcome& outcome, v1::HeartbeatResponse& proto) {
  proto.set_history(outcome.history);
  proto.set_version(outcome.version);
  proto.set_lease_seconds(outcome.lease_seconds);
}

}  // namespace talweg::server
