// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/autoencoder/autoencoder_shape.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace talweg {

AutoencoderShape::AutoencoderShape(std::vector<size_t> widths) : widths_(std::move(widths)) {
  for (size_t layer = 0; layer < num_layers(); ++layer) {
    begins_.push_back(num_parameters_);
    num_parameters_ += (num_inputs(layer) + 1) * num_outputs(layer);
    const bool is_hidden = layer + 1 < num_layers();
    if (is_hidden && num_outputs(layer) < num_outputs(code_layer_)) code_layer_ = layer;
  }
}

std::string AutoencoderShape::weights_name(size_t layer) { return absl::StrCat("w", layer + 1); }

std::string AutoencoderShape::biases_name(size_t layer) { return absl::StrCat("b", layer + 1); }

}  // namespace talweg
