// SPDX-License-Identifier: Apache-2.0
#include "server/wire/contribution_from_proto.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "server/wire/names.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

constexpr int kMaxLosses = 16;

absl::Status Required(absl::string_view field) {
  return MakeError(Reason::kFieldRequired, absl::StrCat(field, " is required"), field);
}

absl::Status NotWithAbstention(absl::string_view field) {
  return MakeError(Reason::kFieldOutOfRange,
                   absl::StrCat(field, " is set, but a worker that abstains has none"), field);
}

}  // namespace

absl::Status CheckHeader(const v1::ContributionHeader& header) {
  TALWEG_RETURN_IF_ERROR(CheckName(header.session_id(), "header.session_id"));
  TALWEG_RETURN_IF_ERROR(CheckName(header.worker(), "header.worker"));
  if (header.history() == 0) return Required("header.history");
  if (header.incarnation() == 0) return Required("header.incarnation");
  if (header.sequence() == 0) return Required("header.sequence");
  if (header.has_weight() && !(std::isfinite(header.weight()) && header.weight() > 0)) {
    return MakeError(
        Reason::kFieldOutOfRange,
        absl::StrCat("header.weight is ", header.weight(), ", allowed: finite numbers above 0"),
        "header.weight");
  }
  if (header.losses_size() > kMaxLosses) {
    return MakeError(Reason::kFieldOutOfRange,
                     absl::StrCat("header.losses has ", header.losses_size(),
                                  " values, allowed: 0 to ", kMaxLosses),
                     "header.losses");
  }
  if (header.abstain() && header.has_weight()) return NotWithAbstention("header.weight");
  if (header.abstain() && header.losses_size() > 0) return NotWithAbstention("header.losses");
  return absl::OkStatus();
}

core::Heartbeat LifeOf(const v1::ContributionHeader& header) {
  return {header.history(), header.worker(), header.incarnation()};
}

absl::StatusOr<ContributedVector> VectorOf(const v1::StepRequest& request, uint64_t num_elements) {
  if (!request.header().abstain()) return GradientOf(request.sections(), num_elements);
  if (request.sections().empty()) return ContributedVector{};
  return MakeError(Reason::kSectionUnexpected,
                   "sections is set, but a worker that abstains has no gradient", "sections");
}

StepInput InputOf(const v1::ContributionHeader& header, const ReplySpec& reply) {
  StepInput input;
  input.contribution.history = header.history();
  input.contribution.worker = header.worker();
  input.contribution.incarnation = header.incarnation();
  input.contribution.sequence = header.sequence();
  input.contribution.base_version = header.base_version();
  if (header.has_weight()) {
    input.has_weight = true;
    input.contribution.weight = header.weight();
  }
  input.contribution.closes_round = header.closes_round();
  input.contribution.abstains = header.abstain();
  input.contribution.may_wait = reply.may_wait;
  input.losses.assign(header.losses().begin(), header.losses().end());
  input.wants_lookahead = reply.data == ReplySpec::Data::kLookahead;
  return input;
}

}  // namespace talweg::server
