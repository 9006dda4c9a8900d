// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/network_session.h"

#include "absl/strings/str_cat.h"

namespace talweg {

void SetNetwork(absl::Span<const size_t> widths, uint64_t seed, v1::CreateSessionRequest& request) {
  v1::Layout& layout = *request.mutable_config()->mutable_layout();
  for (size_t layer = 1; layer < widths.size(); ++layer) {
    v1::Tensor& weights = *layout.add_tensors();
    weights.set_name(absl::StrCat("w", layer));
    weights.add_shape(widths[layer]);
    weights.add_shape(widths[layer - 1]);
    v1::Tensor& biases = *layout.add_tensors();
    biases.set_name(absl::StrCat("b", layer));
    biases.add_shape(widths[layer]);
  }
  v1::SeededValues& seeded = *request.mutable_initial_values()->mutable_seeded();
  seeded.set_seed(seed);
  v1::InitialValueRule& weights = *seeded.add_rules();
  weights.set_tensors("w*");
  weights.mutable_kaiming();
  v1::InitialValueRule& biases = *seeded.add_rules();
  biases.set_tensors("b*");
  biases.mutable_constant();
}

absl::StatusOr<std::vector<size_t>> WidthsOf(const v1::Layout& layout) {
  const absl::Status other = absl::InvalidArgumentError("the session's layout is no network's");
  std::vector<size_t> widths;
  if (layout.tensors_size() == 0 || layout.tensors_size() % 2 != 0) return other;
  for (int i = 0; i < layout.tensors_size(); i += 2) {
    const v1::Tensor& weights = layout.tensors(i);
    const v1::Tensor& biases = layout.tensors(i + 1);
    const size_t layer = static_cast<size_t>(i) / 2 + 1;
    if (weights.name() != absl::StrCat("w", layer) || biases.name() != absl::StrCat("b", layer) ||
        weights.shape_size() != 2 || biases.shape_size() != 1 ||
        weights.shape(0) != biases.shape(0)) {
      return other;
    }
    if (widths.empty()) widths.push_back(weights.shape(1));
    if (widths.back() != weights.shape(1)) return other;
    widths.push_back(weights.shape(0));
  }
  return widths;
}

}  // namespace talweg
