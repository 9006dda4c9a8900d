// SPDX-License-Identifier: Apache-2.0
#include "server/wire/search_from_proto.h"

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/search/search_config.h"
#include "server/wire/membership.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

// A generation has no more pairs.
constexpr uint64_t kMaxPairs = core::SearchConfig::kMaxPairs;

absl::Status CheckCapacity(uint32_t capacity) {
  if (capacity <= kMaxPairs) return absl::OkStatus();
  return MakeError(Reason::kFieldOutOfRange,
                   absl::StrCat("capacity is ", capacity, ", allowed: at most ", kMaxPairs),
                   "capacity");
}

absl::StatusOr<core::PairStatus> StatusFromProto(int status, int index) {
  switch (status) {
    case v1::PAIR_STATUS_OK:
      return core::PairStatus::kOk;
    case v1::PAIR_STATUS_FAILED:
      return core::PairStatus::kFailed;
    case v1::PAIR_STATUS_NON_FINITE:
      return core::PairStatus::kNonFinite;
    default:
      return MakeError(Reason::kFieldOutOfRange,
                       absl::StrCat("statuses has the value ", status, ", which is no status"),
                       absl::StrCat("statuses[", index, "]"));
  }
}

}  // namespace

absl::StatusOr<core::Ask> AskFromProto(const v1::AskRequest& request) {
  TALWEG_RETURN_IF_ERROR(CheckMember(request.worker(), request.history(), request.incarnation()));
  TALWEG_RETURN_IF_ERROR(CheckCapacity(request.capacity()));
  core::Ask ask;
  ask.history = request.history();
  ask.worker = request.worker();
  ask.incarnation = request.incarnation();
  ask.capacity = request.capacity() == 0 ? 1 : request.capacity();
  ask.may_wait = !request.no_wait();
  return ask;
}

absl::StatusOr<core::Tell> TellFromProto(const v1::TellRequest& request) {
  TALWEG_RETURN_IF_ERROR(CheckMember(request.worker(), request.history(), request.incarnation()));
  if (request.generation() == 0) {
    return MakeError(Reason::kFieldRequired, "generation is required", "generation");
  }
  if (request.lease() == 0) {
    return MakeError(Reason::kFieldRequired, "lease is required", "lease");
  }
  if (request.losses().empty() == request.double_losses().empty()) {
    return MakeError(request.losses().empty() ? Reason::kFieldRequired : Reason::kFieldOutOfRange,
                     "a tell has losses or double_losses, one of the two", "losses");
  }
  const int num_losses = request.losses_size() + request.double_losses_size();
  if (static_cast<uint64_t>(num_losses) > 2 * kMaxPairs) {
    return MakeError(
        Reason::kFieldOutOfRange,
        absl::StrCat("there are ", num_losses, " losses, allowed: 1 to ", 2 * kMaxPairs), "losses");
  }
  TALWEG_RETURN_IF_ERROR(CheckCapacity(request.capacity()));
  core::Tell tell;
  tell.history = request.history();
  tell.worker = request.worker();
  tell.incarnation = request.incarnation();
  tell.generation = request.generation();
  tell.lease = request.lease();
  tell.first_pair = request.first_pair();
  tell.evaluate = request.evaluate();
  tell.num_examples = request.num_examples();
  tell.capacity = request.capacity();
  tell.losses.reserve(static_cast<size_t>(num_losses));
  tell.losses.assign(request.losses().begin(), request.losses().end());
  tell.losses.insert(tell.losses.end(), request.double_losses().begin(),
                     request.double_losses().end());
  if (request.statuses_size() > num_losses) {
    return MakeError(Reason::kFieldOutOfRange,
                     absl::StrCat("there are ", request.statuses_size(), " statuses for ",
                                  num_losses, " losses"),
                     "statuses");
  }
  tell.statuses.reserve(static_cast<size_t>(request.statuses_size()));
  for (int index = 0; index < request.statuses_size(); ++index) {
    TALWEG_ASSIGN_OR_RETURN(const core::PairStatus status,
                            StatusFromProto(request.statuses(index), index));
    tell.statuses.push_back(status);
  }
  return tell;
}

}  // namespace talweg::server
