// SPDX-License-Identifier: Apache-2.0
//
// What searches on MNIST leave behind alike: curves as SVG and CSV.
#pragma once

#include <string>

#include "absl/types/span.h"
#include "client/experiments/search/mnist_search.h"

namespace talweg {

enum class SearchAxis { kEvaluations, kSeconds };
enum class SearchValue { kAccuracy, kLoss };  // of the test set

// One curve per run.
std::string MnistSearchPlot(const std::string& title, absl::Span<const MnistSearchRun> runs,
                            SearchAxis axis, SearchValue value);
// name,update,evaluations,seconds,test_loss,test_accuracy
std::string MnistSearchCsv(absl::Span<const MnistSearchRun> runs);

}  // namespace talweg
