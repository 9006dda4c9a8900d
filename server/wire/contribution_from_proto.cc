// SPDX-License-Identifier: Apache-2.0
#include "server/wire/contribution_from_proto.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "server/wire/names.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

constexpr int kMaxLosses = 16;
// The most that a factor can be made of (core/linalg/gram.h). The sum of so many numbers of all
// layers is far from an overflow.
constexpr uint64_t kMaxRows = (uint64_t{1} << 31) - 1;

absl::Status Required(absl::string_view field) {
  return MakeError(Reason::kFieldRequired, absl::StrCat(field, " is required"), field);
}

absl::Status NotWithAbstention(absl::string_view field) {
  return MakeError(Reason::kFieldOutOfRange,
                   absl::StrCat(field, " is set, but a worker that abstains has none"), field);
}

absl::Status OutOfRange(absl::string_view field, absl::string_view why) {
  return MakeError(Reason::kFieldOutOfRange, why, field);
}

absl::Status CheckLossChange(const v1::ContributionHeader& header) {
  const v1::LossChange& change = header.loss_change();
  if (header.abstain()) return NotWithAbstention("header.loss_change");
  if (header.statistics().alone()) {
    return OutOfRange("header.loss_change", "loss_change is set, but there is no gradient");
  }
  if (change.version() == 0) return Required("header.loss_change.version");
  for (const auto& [name, loss] :
       {std::pair("before", change.before()), std::pair("after", change.after())}) {
    if (std::isfinite(loss)) continue;
    return OutOfRange(absl::StrCat("header.loss_change.", name),
                      absl::StrCat(name, " is ", loss, ", allowed: finite numbers"));
  }
  return absl::OkStatus();
}

absl::Status CheckStatistics(const v1::ContributionHeader& header) {
  const v1::Statistics& statistics = header.statistics();
  if (header.abstain()) return NotWithAbstention("header.statistics");
  if (statistics.num_samples() == 0) return Required("header.statistics.num_samples");
  if (statistics.num_samples() > core::StatisticsShape::kMaxSamples) {
    return OutOfRange("header.statistics.num_samples",
                      absl::StrCat("num_samples is ", statistics.num_samples(), ", allowed: 1 to ",
                                   core::StatisticsShape::kMaxSamples));
  }
  if (!v1::StatisticsTarget_IsValid(statistics.target())) {
    return OutOfRange(
        "header.statistics.target",
        absl::StrCat("target has the unknown value ", static_cast<int>(statistics.target())));
  }
  if (!statistics.alone()) return absl::OkStatus();
  const auto not_alone = [](absl::string_view field) {
    return OutOfRange(field, absl::StrCat(field, " is set, but there is no gradient"));
  };
  if (header.has_weight()) return not_alone("header.weight");
  if (header.losses_size() > 0) return not_alone("header.losses");
  if (header.closes_round()) return not_alone("header.closes_round");
  return absl::OkStatus();
}

// The rows that are sent of a layer; 0: triangles. Fields are named within the layer's message.
absl::StatusOr<uint64_t> NumRowsOf(const v1::LayerStatistics& layer, uint64_t num_samples,
                                   core::Sharing sharing) {
  switch (layer.form()) {
    case v1::STATISTICS_FORM_UNSPECIFIED:
    case v1::STATISTICS_FORM_TRIANGLES:
      if (layer.num_rows() == 0) return 0;
      return OutOfRange(
          "num_rows", absl::StrCat("num_rows is ", layer.num_rows(), ", but triangles have none"));
    case v1::STATISTICS_FORM_ROWS:
      break;
    default:
      return OutOfRange(
          "form", absl::StrCat("form has the unknown value ", static_cast<int>(layer.form())));
  }
  const uint64_t num_rows = layer.num_rows();
  const bool is_one_each = num_rows == num_samples;
  const bool is_multiple = num_rows > 0 && num_rows % num_samples == 0 && num_rows <= kMaxRows;
  if (is_one_each || (is_multiple && sharing != core::Sharing::kNone)) return num_rows;
  return OutOfRange(
      "num_rows", absl::StrCat("num_rows is ", num_rows, ", expected ",
                               sharing == core::Sharing::kNone ? "" : "a multiple of ", num_samples,
                               ", the number of samples"));
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
  if (header.has_loss_change()) {
    const absl::Status checked = CheckLossChange(header);
    if (!checked.ok()) return checked;
  }
  if (header.has_statistics()) return CheckStatistics(header);
  return absl::OkStatus();
}

core::Heartbeat LifeOf(const v1::ContributionHeader& header) {
  return {header.history(), header.worker(), header.incarnation()};
}

uint64_t NumGradientElements(const v1::ContributionHeader& header, uint64_t num_elements) {
  return header.abstain() || header.statistics().alone() ? 0 : num_elements;
}

absl::StatusOr<std::optional<core::StatisticsShape>> StatisticsShapeOf(
    const v1::ContributionHeader& header, const core::LayerTable& table) {
  if (header.has_loss_change() && table.layers.empty()) {
    return OutOfRange("loss_change", "loss_change is set, but the session has no layers");
  }
  if (!header.has_statistics()) return std::nullopt;
  const v1::Statistics& statistics = header.statistics();
  if (table.layers.empty()) {
    return OutOfRange("statistics", "statistics is set, but the session has no layers");
  }
  if (statistics.layers_size() != static_cast<int>(table.layers.size())) {
    return OutOfRange("statistics.layers",
                      absl::StrCat("statistics has ", statistics.layers_size(),
                                   " layers, the session has ", table.layers.size()));
  }
  core::StatisticsShape shape;
  shape.num_samples = statistics.num_samples();
  shape.of_mean_loss = statistics.of_mean_loss();
  for (int index = 0; index < statistics.layers_size(); ++index) {
    const v1::LayerStatistics& layer = statistics.layers(index);
    const std::string field = absl::StrCat("statistics.layers[", index, "]");
    if (layer.weight() != table.weights[index]) {
      return OutOfRange(absl::StrCat(field, ".weight"),
                        absl::StrCat("layer ", index, " of the session is \"", table.weights[index],
                                     "\", the statistics have \"", layer.weight(), "\""));
    }
    const absl::StatusOr<uint64_t> num_rows =
        NumRowsOf(layer, shape.num_samples, table.layers[index].sharing);
    if (!num_rows.ok()) return core::PrefixField(num_rows.status(), field);
    shape.num_rows.push_back(*num_rows);
  }
  return shape;
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
  input.contribution.is_statistics = header.statistics().alone();
  if (header.has_loss_change()) {
    const v1::LossChange& change = header.loss_change();
    input.contribution.loss_change = {change.version(), change.before(), change.after()};
  }
  input.contribution.may_wait = reply.may_wait;
  input.losses.assign(header.losses().begin(), header.losses().end());
  input.wants_lookahead = reply.data == ReplySpec::Data::kLookahead;
  return input;
}

}  // namespace talweg::server
