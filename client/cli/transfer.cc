// SPDX-License-Identifier: Apache-2.0
#include "client/cli/transfer.h"

#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/terminal/progress.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr uint64_t kLargeBytes = uint64_t{16} << 20;

absl::StatusOr<v1::Point> PointOf(const Arguments& arguments) {
  const std::string point = arguments.Text("point", "parameters");
  if (point == "parameters") return v1::POINT_PARAMETERS;
  if (point == "lookahead") return v1::POINT_LOOKAHEAD;
  if (point == "average") return v1::POINT_AVERAGE;
  return UsageError(absl::StrCat("--point \"", point, "\" is none of the points"));
}

absl::StatusOr<v1::Dtype> DtypeOf(const Arguments& arguments) {
  const std::string dtype = arguments.Text("dtype", "float32");
  if (dtype == "float32") return v1::DTYPE_FLOAT32;
  if (dtype == "bfloat16") return v1::DTYPE_BFLOAT16;
  if (dtype == "float16") return v1::DTYPE_FLOAT16;
  return UsageError(
      absl::StrCat("--dtype takes float32, bfloat16 or float16, got \"", dtype, "\""));
}

}  // namespace

absl::StatusOr<StepOptions> StepOptionsOf(const Arguments& arguments) {
  const absl::StatusOr<v1::Point> point = PointOf(arguments);
  if (!point.ok()) return point.status();
  if (*point == v1::POINT_AVERAGE) {
    return UsageError("--point takes parameters or lookahead; pull gives the average");
  }
  const absl::StatusOr<v1::Dtype> dtype = DtypeOf(arguments);
  if (!dtype.ok()) return dtype.status();
  const absl::StatusOr<std::optional<double>> weight = arguments.Number("weight");
  if (!weight.ok()) return weight.status();
  const absl::StatusOr<std::optional<uint64_t>> base_version = arguments.Whole("base_version");
  if (!base_version.ok()) return base_version.status();
  StepOptions options;
  options.base_version = *base_version;
  if (weight->has_value()) options.weight = static_cast<float>(**weight);
  options.difference = arguments.Has("difference");
  options.return_pending = arguments.Has("no_wait");
  options.closes_round = arguments.Has("close_round");
  options.abstain = arguments.Has("abstain");
  options.point = *point;
  options.gradient_dtype = options.reply_dtype = *dtype;
  options.checksums = arguments.Has("checksums");
  options.progress = TransferBar(stderr, "step");
  return options;
}

absl::StatusOr<PullOptions> PullOptionsOf(const Arguments& arguments) {
  const absl::StatusOr<v1::Point> point = PointOf(arguments);
  if (!point.ok()) return point.status();
  const absl::StatusOr<v1::Dtype> dtype = DtypeOf(arguments);
  if (!dtype.ok()) return dtype.status();
  const absl::StatusOr<std::optional<uint64_t>> min_version = arguments.Whole("min_version");
  if (!min_version.ok()) return min_version.status();
  PullOptions options;
  options.min_version = min_version->value_or(0);
  options.point = *point;
  options.dtype = *dtype;
  options.checksums = arguments.Has("checksums");
  options.progress = TransferBar(stderr, "pull");
  return options;
}

ProgressCallback TransferBar(std::FILE* out, absl::string_view label) {
  if (!IsTerminal(out)) return nullptr;
  // Made when the size is known.
  const auto bar = std::make_shared<std::optional<Progress>>();
  return [out, label = std::string(label), bar](uint64_t done, uint64_t total) {
    if (total < kLargeBytes) return;
    if (!bar->has_value()) bar->emplace(out, true, label, total);
    const absl::Time now = absl::Now();
    if (done < total && !(*bar)->Due(now)) return;
    const std::string detail = absl::StrCat(GroupDigits(done >> 20), " MiB");
    if (done < total) return (*bar)->Draw(done, detail, now);
    (*bar)->Finish(done, detail);
  };
}

}  // namespace talweg
