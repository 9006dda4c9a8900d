// SPDX-License-Identifier: Apache-2.0
//
// The layers of an autoencoder, and where the parameters of each stand in the flat vector:
// W_1 [outputs, inputs] row-major, b_1, W_2, b_2, ...: the layout "w1:1000,784 b1:1000 w2:500,1000
// ..." that SetNetwork (client/experiments/mnist/network_session.h) makes from the widths.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace talweg {

// The widths of the autoencoder of MNIST by Hinton and Salakhutdinov (Science 313, 2006), on which
// K-FAC was measured too (arXiv:1503.05671, section 13). They make 2,837,314 parameters.
inline constexpr size_t kMnistAutoencoderWidths[] = {784, 1000, 500, 250, 30, 250, 500, 1000, 784};

// A value. Layers count from 0; the names of their tensors count from 1.
class AutoencoderShape {
 public:
  // `widths`: inputs, hidden layers, outputs; at least three, the last equal to the first.
  explicit AutoencoderShape(std::vector<size_t> widths);

  const std::vector<size_t>& widths() const { return widths_; }
  size_t num_layers() const { return widths_.size() - 1; }
  size_t num_parameters() const { return num_parameters_; }
  size_t num_inputs(size_t layer) const { return widths_[layer]; }
  size_t num_outputs(size_t layer) const { return widths_[layer + 1]; }

  // The layer whose outputs are the code: the first of the narrowest hidden layers.
  size_t code_layer() const { return code_layer_; }
  // Whether a ReLU follows the layer. The code and the outputs of the last layer are linear.
  bool is_rectified(size_t layer) const {
    return layer != code_layer_ && layer + 1 != num_layers();
  }

  // The first parameter of the layer's weights, [num_outputs, num_inputs]; of its biases,
  // [num_outputs].
  size_t weights_begin(size_t layer) const { return begins_[layer]; }
  size_t biases_begin(size_t layer) const {
    return begins_[layer] + num_inputs(layer) * num_outputs(layer);
  }
  // "w1" and "b1" for layer 0.
  static std::string weights_name(size_t layer);
  static std::string biases_name(size_t layer);

 private:
  std::vector<size_t> widths_;
  std::vector<size_t> begins_;
  size_t num_parameters_ = 0;
  size_t code_layer_ = 0;
};

}  // namespace talweg
