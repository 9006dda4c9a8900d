// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/autoencoder/autoencoder_shape.h"

#include <gtest/gtest.h>

#include <iterator>

#include "client/experiments/mnist/network_session.h"

namespace talweg {
namespace {

const std::vector<size_t> kMnistWidths(std::begin(kMnistAutoencoderWidths),
                                       std::end(kMnistAutoencoderWidths));

TEST(AutoencoderShapeTest, CountsTheParametersOfTheAutoencoderOfMnist) {
  const AutoencoderShape shape(kMnistWidths);
  EXPECT_EQ(shape.num_layers(), 8u);
  EXPECT_EQ(shape.num_parameters(), 2837314u);
  EXPECT_EQ(shape.code_layer(), 3u);
  EXPECT_EQ(shape.num_outputs(shape.code_layer()), 30u);
}

TEST(AutoencoderShapeTest, OnlyTheCodeAndTheLastLayerAreLinear) {
  const AutoencoderShape shape({7, 5, 3, 3, 6, 7});
  EXPECT_TRUE(shape.is_rectified(0));
  EXPECT_FALSE(shape.is_rectified(1));  // the first of two equals
  EXPECT_TRUE(shape.is_rectified(2));
  EXPECT_TRUE(shape.is_rectified(3));
  EXPECT_FALSE(shape.is_rectified(4));
  // Inputs and outputs are no code, although they are the narrowest here.
  EXPECT_EQ(AutoencoderShape({2, 4, 3, 2}).code_layer(), 1u);
}

TEST(AutoencoderShapeTest, NamesAndPlacesAreThoseOfTheSessionsLayout) {
  const AutoencoderShape shape({7, 5, 3, 6, 7});
  v1::CreateSessionRequest request;
  SetNetwork(shape.widths(), 1, request);
  size_t begin = 0;
  for (size_t layer = 0; layer < shape.num_layers(); ++layer) {
    const v1::Tensor& weights = request.config().layout().tensors(2 * static_cast<int>(layer));
    const v1::Tensor& biases = request.config().layout().tensors(2 * static_cast<int>(layer) + 1);
    EXPECT_EQ(AutoencoderShape::weights_name(layer), weights.name());
    EXPECT_EQ(shape.weights_begin(layer), begin);
    begin += weights.shape(0) * weights.shape(1);
    EXPECT_EQ(AutoencoderShape::biases_name(layer), biases.name());
    EXPECT_EQ(shape.biases_begin(layer), begin);
    begin += biases.shape(0);
  }
  EXPECT_EQ(shape.num_parameters(), begin);
}

}  // namespace
}  // namespace talweg
