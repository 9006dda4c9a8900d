// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/random_search_rate.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/experiments/plots/columns.h"
#include "client/experiments/plots/plot.h"
#include "client/experiments/runs/own_session.h"
#include "client/experiments/search/evaluate_leases.h"
#include "client/experiments/search/fit_exponent.h"
#include "client/terminal/progress.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr double kSigma = 1e-5;  // small beside every |x| / sqrt(d) that is met
constexpr size_t kBlack = 6;     // of the colours

double Norm(absl::Span<const float> x) {
  double sum = 0;
  for (const float value : x) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

v1::CreateSessionRequest MakeRequest(const RatePoint& point, uint64_t seed) {
  v1::CreateSessionRequest request;
  request.set_session_id(OwnSessionId("random_search_rate"));
  v1::SessionConfig& config = *request.mutable_config();
  v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
  tensor.set_name("x");
  tensor.add_shape(point.num_elements);
  config.mutable_optimizer()->mutable_gradient_descent();
  // eta = 1 / sqrt(c T), and the bound is sqrt(c / T).
  config.mutable_schedule()->set_learning_rate(
      1 / (point.bound() * static_cast<double>(point.num_steps)));
  v1::SearchPolicy& search = *config.mutable_search();
  search.set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  search.set_seed(seed);
  search.set_num_pairs(static_cast<uint32_t>(point.num_pairs));
  search.set_sigma(kSigma);
  search.set_scale(v1::SCALE_GRADIENT);
  search.set_max_generations(static_cast<uint32_t>(point.num_steps));
  v1::InitialValueRule& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
  rule.set_tensors("*");
  rule.mutable_constant()->set_value(1 / std::sqrt(static_cast<double>(point.num_elements)));
  return request;
}

absl::Status Measure(const Client& client, const RandomSearchRateOptions& options,
                     RatePoint& point) {
  double sum = 0;
  LeaseLoop loop;
  loop.stop = options.stop;
  loop.evaluate =
      PointByPoint([](absl::Span<const float> x, uint64_t /*data_seed*/) { return Norm(x); });
  loop.see = [&](uint64_t version, absl::Span<const float> x) {
    if (version < point.num_steps) sum += Norm(x);
    return absl::OkStatus();
  };
  const absl::Status status = SearchAlone(client, MakeRequest(point, options.seed), loop);
  point.error = sum / static_cast<double>(point.num_steps);
  return status;
}

std::vector<RateSweep> SweepsOf(bool quick) {
  std::vector<RateSweep> sweeps = {{"d", 0.5, {}}, {"M", -0.5, {}}, {"T", -0.5, {}}};
  const uint64_t share = quick ? 16 : 1;
  const uint64_t step = quick ? 4 : 2;  // from one point to the next
  const uint64_t updates = 6400 / share;
  for (uint64_t d = 64; d <= 1024; d *= step) sweeps[0].points.push_back({d, 4, updates, 0});
  for (uint64_t m = 1; m <= 16; m *= step) sweeps[1].points.push_back({256, m, updates, 0});
  for (uint64_t t = 800; t <= 12800; t *= step) sweeps[2].points.push_back({64, 2, t / share, 0});
  return sweeps;
}

std::string Plot(absl::Span<const RateSweep> sweeps) {
  std::vector<Curve> curves;
  for (size_t i = 0; i < sweeps.size(); ++i) {
    const RateSweep& sweep = sweeps[i];
    const RatePoint& first = sweep.points[0];
    std::string fixed;
    if (sweep.varied != "d") absl::StrAppend(&fixed, ", d = ", first.num_elements);
    if (sweep.varied != "M") absl::StrAppend(&fixed, ", M = ", first.num_pairs);
    if (sweep.varied != "T") absl::StrAppend(&fixed, ", T = ", GroupDigits(first.num_steps));
    Curve measured;
    measured.name = absl::StrFormat("%s varies%s: exponent %.3f (theory %g)", sweep.varied, fixed,
                                    sweep.Exponent(), sweep.theory);
    measured.colour = i;
    measured.dots = true;
    Curve bound;
    if (i + 1 == sweeps.size()) bound.name = "theory: sqrt((1 + (d + 1) / M) / T)";
    bound.colour = kBlack;
    bound.dashed = true;
    for (const RatePoint& point : sweep.points) {
      measured.x.push_back(sweep.Value(point));
      measured.y.push_back(point.error);
      bound.x.push_back(sweep.Value(point));
      bound.y.push_back(point.bound());
    }
    curves.push_back(std::move(measured));
    curves.push_back(std::move(bound));
  }
  PlotText text = {"Search with two evaluations per perturbation: mean error over T updates",
                   "d, M or T", "mean of |x|, from |x| = 1"};
  text.log_x = true;
  return PlotSvg(text, curves);
}

struct At {
  const RateSweep& sweep;
  const RatePoint& point;
};

std::string CurvesCsv(absl::Span<const RateSweep> sweeps) {
  const Columns<At> columns({
      {"varied", [](const At& a) { return Word(a.sweep.varied); }},
      {"elements", [](const At& a) { return Whole(a.point.num_elements); }},
      {"pairs", [](const At& a) { return Whole(a.point.num_pairs); }},
      {"updates", [](const At& a) { return Whole(a.point.num_steps); }},
      {"error", [](const At& a) { return Number("%.6g", a.point.error); }},
      {"bound", [](const At& a) { return Number("%.6g", a.point.bound()); }},
  });
  std::vector<At> points;
  for (const RateSweep& sweep : sweeps) {
    for (const RatePoint& point : sweep.points) points.push_back({sweep, point});
  }
  return columns.Csv(points);
}

// How far the exponent is from theory's, as a share of it.
double Deviation(const RateSweep& sweep) {
  return std::abs(sweep.Exponent() - sweep.theory) / std::abs(sweep.theory);
}

std::string Verdict(const RateSweep& sweep) {
  const double percent = 100 * Deviation(sweep);
  if (percent > 15) return absl::StrFormat("off by %.0f %%", percent);
  return absl::StrFormat("agrees within %.0f %%", std::max(1.0, std::ceil(percent)));
}

// Mean of error / bound.
double BoundShare(const RateSweep& sweep) {
  double sum = 0;
  for (const RatePoint& point : sweep.points) sum += point.error / point.bound();
  return sum / static_cast<double>(sweep.points.size());
}

const Columns<RateSweep>& SummaryColumns() {
  using Row = const RateSweep&;
  static const auto& columns = *new Columns<RateSweep>({
      {"varied", [](Row r) { return Word(r.varied); }, "varied", Align::kLeft,
       [](Row r) { return r.varied; }},
      {"from", [](Row r) { return Number("%g", r.Value(r.points.front())); }, "from", Align::kRight,
       [](Row r) { return absl::StrFormat("%g", r.Value(r.points.front())); }},
      {"to", [](Row r) { return Number("%g", r.Value(r.points.back())); }, "to", Align::kRight,
       [](Row r) { return absl::StrFormat("%g", r.Value(r.points.back())); }},
      {"exponent", [](Row r) { return Number("%.6f", r.Exponent()); }, "exponent", Align::kRight,
       [](Row r) { return absl::StrFormat("%.3f", r.Exponent()); }},
      {"theory", [](Row r) { return Number("%g", r.theory); }, "theory", Align::kRight,
       [](Row r) { return absl::StrFormat("%g", r.theory); }},
      {"deviation", [](Row r) { return Number("%.6f", Deviation(r)); }, "", Align::kLeft, Verdict},
      {"bound_exponent", [](Row r) { return Number("%.6f", r.BoundExponent()); }, "of the bound",
       Align::kRight, [](Row r) { return absl::StrFormat("%.3f", r.BoundExponent()); }},
      {"bound_share", [](Row r) { return Number("%.6f", BoundShare(r)); }, "error / bound",
       Align::kRight, [](Row r) { return absl::StrFormat("%.3f", BoundShare(r)); }},
  });
  return columns;
}

}  // namespace

double RatePoint::bound() const {
  const double c = 1 + (static_cast<double>(num_elements) + 1) / static_cast<double>(num_pairs);
  return std::sqrt(c / static_cast<double>(num_steps));
}

double RateSweep::Value(const RatePoint& point) const {
  return static_cast<double>(varied == "d"   ? point.num_elements
                             : varied == "M" ? point.num_pairs
                                             : point.num_steps);
}

double RateSweep::Exponent() const {
  std::vector<double> x;
  std::vector<double> y;
  for (const RatePoint& point : points) {
    x.push_back(Value(point));
    y.push_back(point.error);
  }
  return FitExponent(x, y);
}

double RateSweep::BoundExponent() const {
  std::vector<double> x;
  std::vector<double> y;
  for (const RatePoint& point : points) {
    x.push_back(Value(point));
    y.push_back(point.bound());
  }
  return FitExponent(x, y);
}

absl::Status RunRandomSearchRate(const Client& client, const RandomSearchRateOptions& options,
                                 std::ostream& out, std::FILE* progress_out) {
  std::vector<RateSweep> sweeps = SweepsOf(options.quick);
  uint64_t total = 0;
  uint64_t done = 0;
  for (const RateSweep& sweep : sweeps) {
    for (const RatePoint& point : sweep.points) total += point.num_steps;
  }
  std::optional<Progress> progress;
  if (progress_out != nullptr) {
    progress.emplace(progress_out, IsTerminal(progress_out), "updates", total);
  }
  for (RateSweep& sweep : sweeps) {
    for (RatePoint& point : sweep.points) {
      const absl::Status measured = Measure(client, options, point);
      if (!measured.ok()) return measured;
      done += point.num_steps;
      const absl::Time now = absl::Now();
      if (progress && progress->Due(now)) progress->Draw(done, "", now);
    }
  }
  if (progress) progress->Finish(done, "");
  return RandomSearchRateReport(options.out_dir, sweeps).Deliver(options.json, out);
}

ReportWriter RandomSearchRateReport(const std::string& folder, absl::Span<const RateSweep> sweeps) {
  ReportWriter report(folder);
  report.AddFile("plot", "plot", "random_search_rate.svg", Plot(sweeps));
  report.AddFile("curves", "numbers", "random_search_rate.csv", CurvesCsv(sweeps));
  report.AddFile("summary", "numbers", "summary.csv", SummaryColumns().Csv(sweeps));
  report.SetTable(SummaryColumns().Table(sweeps));
  report.SetRows("runs", SummaryColumns().JsonRows(sweeps));
  return report;
}

}  // namespace talweg
