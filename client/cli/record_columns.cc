// SPDX-License-Identifier: Apache-2.0
#include "client/cli/record_columns.h"

#include <charconv>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cli/config_text.h"
#include "client/experiments/plots/columns.h"

namespace talweg {
namespace {

using v1::StepRecord;

std::string TimeText(const StepRecord& record, const char* format) {
  return absl::FormatTime(
      format,
      absl::FromUnixSeconds(record.time().seconds()) + absl::Nanoseconds(record.time().nanos()),
      absl::UTCTimeZone());
}

// A number of the report of a search; nothing if the session does not search, or does not say.
template <auto kNumber>
std::optional<double> OfSearch(const StepRecord& record) {
  if (!record.report().has_search()) return std::nullopt;
  return static_cast<double>((record.report().search().*kNumber)());
}
template <auto kHas, auto kNumber>
std::optional<double> OfSearchIf(const StepRecord& record) {
  if (!record.report().has_search() || !(record.report().search().*kHas)()) return std::nullopt;
  return static_cast<double>((record.report().search().*kNumber)());
}

// A number of the report of the curvature; nothing if the method uses none, or does not say.
template <auto kNumber>
std::optional<double> OfCurvature(const StepRecord& record) {
  if (!record.report().has_curvature()) return std::nullopt;
  return static_cast<double>((record.report().curvature().*kNumber)());
}

// The shortest digits that name this float64; "nan" also if its sign bit is set.
std::string Exactly(double value) {
  if (std::isnan(value)) return "nan";
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof(digits), value).ptr};
}

// Version, time, the numbers, and the digest. Text has six digits, CSV every digit.
const Columns<StepRecord>& AllColumns() {
  using Record = const StepRecord&;
  static const auto& columns = *[] {
    std::vector<ReportColumn<StepRecord>> all = {
        {"version", [](Record r) { return Whole(r.version()); }, "version", Align::kRight,
         [](Record r) { return absl::StrCat(r.version()); }},
        {"time", [](Record r) { return Word(TimeText(r, "%Y-%m-%dT%H:%M:%E6SZ")); }, "time",
         Align::kLeft, [](Record r) { return TimeText(r, "%Y-%m-%dT%H:%M:%E3SZ"); }}};
    for (const RecordColumn& column : RecordColumns()) {
      const auto value = column.value;
      all.push_back({column.name,
                     [value](Record r) {
                       const std::optional<double> number = value(r);
                       if (!number.has_value()) return Cell{"", "null"};
                       return Cell{Exactly(*number), Exactly(*number)};
                     },
                     column.name, Align::kRight,
                     [value](Record r) {
                       const std::optional<double> number = value(r);
                       return number.has_value() ? NumberText(*number) : "";
                     }});
    }
    all.push_back({"state_digest",
                   [](Record r) {
                     return r.report().has_state_digest() ? Word(r.report().state_digest())
                                                          : Cell{"", "null"};
                   },
                   "state_digest", Align::kLeft,
                   [](Record r) { return r.report().state_digest(); }});
    return new Columns<StepRecord>(std::move(all));
  }();
  return columns;
}

}  // namespace

const std::vector<RecordColumn>& RecordColumns() {
  using Value = std::optional<double>;
  using Search = v1::SearchReport;
  using Curvature = v1::CurvatureReport;
  static const auto& columns = *new std::vector<RecordColumn>{
      {"loss",
       [](const StepRecord& r) {
         return r.report().has_loss() ? Value(r.report().loss()) : std::nullopt;
       }},
      {"learning_rate", [](const StepRecord& r) { return Value(r.report().learning_rate()); }},
      {"gradient_norm", [](const StepRecord& r) { return Value(r.report().gradient_norm()); }},
      {"update_norm", [](const StepRecord& r) { return Value(r.report().update_norm()); }},
      {"clip_factor", [](const StepRecord& r) { return Value(r.report().clip_factor()); }},
      {"staleness", [](const StepRecord& r) { return Value(r.report().staleness()); }},
      {"contributors", [](const StepRecord& r) { return Value(r.report().contributors()); }},
      {"total_weight", [](const StepRecord& r) { return Value(r.report().total_weight()); }},
      {"num_late", [](const StepRecord& r) { return Value(r.report().num_late()); }},
      {"num_expired", [](const StepRecord& r) { return Value(r.report().num_expired()); }},
      {"num_abstained", [](const StepRecord& r) { return Value(r.report().num_abstained()); }},
      {"num_losses_left_out",
       [](const StepRecord& r) { return Value(r.report().num_losses_left_out()); }},
      {"num_non_finite", [](const StepRecord& r) { return Value(r.report().num_non_finite()); }},
      {"first_non_finite",
       [](const StepRecord& r) {
         return r.report().has_first_non_finite() ? Value(r.report().first_non_finite())
                                                  : std::nullopt;
       }},
      {"too_stale", [](const StepRecord& r) { return Value(r.refusals().too_stale()); }},
      {"rejected_non_finite",
       [](const StepRecord& r) { return Value(r.refusals().rejected_non_finite()); }},
      {"round_closed", [](const StepRecord& r) { return Value(r.refusals().round_closed()); }},
      {"step_seconds", [](const StepRecord& r) { return Value(r.step_seconds()); }},
      {"seconds_since_last", [](const StepRecord& r) { return Value(r.seconds_since_last()); }},
      {"search_generation", OfSearch<&Search::generation>},
      {"search_num_pairs", OfSearch<&Search::num_pairs>},
      {"search_num_counted", OfSearch<&Search::num_counted>},
      {"search_num_dropped", OfSearch<&Search::num_dropped>},
      {"search_num_non_finite", OfSearch<&Search::num_non_finite>},
      {"search_num_ties", OfSearch<&Search::num_ties>},
      {"search_loss_mean", OfSearch<&Search::loss_mean>},
      {"search_loss_deviation", OfSearch<&Search::loss_deviation>},
      {"search_loss_min", OfSearch<&Search::loss_min>},
      {"search_loss_max", OfSearch<&Search::loss_max>},
      {"search_evaluated_loss", OfSearchIf<&Search::has_evaluated_loss, &Search::evaluated_loss>},
      {"search_sigma", OfSearch<&Search::sigma>},
      {"search_weight_norm", OfSearch<&Search::weight_norm>},
      {"search_signal_to_noise",
       OfSearchIf<&Search::has_signal_to_noise, &Search::signal_to_noise>},
      {"search_gradient_learning_rate",
       OfSearchIf<&Search::has_gradient_learning_rate, &Search::gradient_learning_rate>},
      {"search_num_examples", OfSearch<&Search::num_examples>},
      {"search_accepted", OfSearchIf<&Search::has_accepted, &Search::accepted>},
      {"curvature_damping", OfCurvature<&Curvature::damping>},
      {"curvature_reduction_ratio",
       [](const StepRecord& r) {
         const Curvature& told = r.report().curvature();
         return told.has_reduction_ratio() ? Value(told.reduction_ratio()) : std::nullopt;
       }},
      {"curvature_step_clip_factor", OfCurvature<&Curvature::step_clip_factor>},
      {"curvature_inverse_version", OfCurvature<&Curvature::inverse_version>},
      {"curvature_inverse_age_steps", OfCurvature<&Curvature::inverse_age_steps>},
      {"curvature_inverse_age_seconds", OfCurvature<&Curvature::inverse_age_seconds>},
      {"curvature_num_statistics", OfCurvature<&Curvature::num_statistics>},
      {"curvature_num_samples", OfCurvature<&Curvature::num_samples>},
      {"curvature_num_layers_without_inverse", OfCurvature<&Curvature::num_layers_without_inverse>},
      {"curvature_num_raised_dampings", OfCurvature<&Curvature::num_raised_dampings>},
      {"curvature_num_failed_inverses", OfCurvature<&Curvature::num_failed_inverses>},
      {"curvature_num_unclipped_steps", OfCurvature<&Curvature::num_unclipped_steps>},
      {"curvature_num_too_long_steps", OfCurvature<&Curvature::num_too_long_steps>},
  };
  return columns;
}

double RecordSeconds(const StepRecord& record) {
  return static_cast<double>(record.time().seconds()) + record.time().nanos() * 1e-9;
}

std::string RecordLine(const StepRecord& record) { return AllColumns().Line(record); }

std::string RecordsCsv(absl::Span<const StepRecord> records) { return AllColumns().Csv(records); }

}  // namespace talweg
