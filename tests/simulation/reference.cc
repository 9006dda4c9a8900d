// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/reference.h"

#include <algorithm>
#include <cmath>

#include "tests/simulation/exact_number.h"

namespace talweg::simulation {
namespace {

// One element of every contribution, in the order of their arrival.
struct Column {
  std::vector<float> values;
  std::vector<float> weights;
  double total_weight = 0;
};

float ExactMean(const Column& column) {
  if (column.values.size() == 1) return column.values[0];
  ExactNumber sum;
  for (size_t place = 0; place < column.values.size(); ++place) {
    sum.Add(static_cast<double>(column.weights[place]) * column.values[place]);
  }
  return static_cast<float>(sum.Value() / column.total_weight);
}

float MeanInOrder(const Column& column, const std::vector<size_t>& order) {
  if (column.values.size() == 1) return column.values[0];
  double sum = 0;
  for (const size_t place : order) {
    sum += static_cast<double>(column.weights[place]) * column.values[place];
  }
  return static_cast<float>(sum / column.total_weight);
}

// The mean of the values from `begin` to `end`, counted in their order by size.
float MiddleMean(std::vector<float> values, size_t begin, size_t end) {
  std::sort(values.begin(), values.end());
  double sum = 0;
  for (size_t place = begin; place < end; ++place) sum += values[place];
  return static_cast<float>(sum / static_cast<double>(end - begin));
}

}  // namespace

void Reference::Take(const std::vector<Counted>& counted, const Settings& settings) {
  const core::AggregationConfig& policy = settings.policy;
  const size_t size = counted.size();
  std::vector<std::vector<float>> gradients;
  ExactNumber total_weight;
  Column column;
  for (const Counted& one : counted) {
    gradients.push_back(GradientOf(one.payload, static_cast<uint32_t>(parameters_.size())));
    column.weights.push_back(one.weight);
    total_weight.Add(one.weight);
  }
  column.total_weight = total_weight.Value();
  std::vector<size_t> by_name(size);
  for (size_t place = 0; place < size; ++place) by_name[place] = place;
  std::sort(by_name.begin(), by_name.end(),
            [&](size_t a, size_t b) { return counted[a].key.worker < counted[b].key.worker; });
  const auto rate = static_cast<float>(settings.learning_rate);
  const auto keep = static_cast<float>(1 - settings.learning_rate * decay_);
  for (size_t element = 0; element < parameters_.size(); ++element) {
    column.values.clear();
    for (const std::vector<float>& gradient : gradients) {
      column.values.push_back(gradient[element]);
    }
    float reduced = 0;
    if (policy.reduction == core::Reduction::kTrimmedMean) {
      const auto trim =
          static_cast<size_t>(std::floor(policy.trim_fraction * static_cast<double>(size)));
      reduced = MiddleMean(column.values, trim, size - trim);
    } else if (policy.reduction == core::Reduction::kMedian) {
      reduced = MiddleMean(column.values, (size - 1) / 2, size / 2 + 1);
    } else if (policy.reduce_order == core::ReduceOrder::kByWorker) {
      reduced = MeanInOrder(column, by_name);
    } else {
      reduced = ExactMean(column);
    }
    parameters_[element] = keep * parameters_[element] - rate * reduced;
  }
}

}  // namespace talweg::simulation
