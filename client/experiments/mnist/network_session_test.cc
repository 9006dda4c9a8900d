// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/network_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace talweg {
namespace {

using ::testing::ElementsAre;

v1::CreateSessionRequest Request() {
  v1::CreateSessionRequest request;
  SetNetwork({784, 128, 10}, 7, request);
  return request;
}

TEST(NetworkSessionTest, WidthsComeBackFromTheLayout) {
  const v1::CreateSessionRequest request = Request();
  EXPECT_THAT(WidthsOf(request.config().layout()).value(), ElementsAre(784u, 128u, 10u));
  EXPECT_EQ(request.initial_values().seeded().seed(), 7u);
  EXPECT_EQ(request.config().layout().tensors(0).name(), "w1");
  EXPECT_THAT(request.config().layout().tensors(0).shape(), ElementsAre(128u, 784u));
}

TEST(NetworkSessionTest, AnotherLayoutIsNoNetwork) {
  EXPECT_FALSE(WidthsOf({}).ok());
  v1::Layout layout = Request().config().layout();
  layout.mutable_tensors(1)->set_shape(0, 127);  // of biases
  EXPECT_FALSE(WidthsOf(layout).ok());
  layout = Request().config().layout();
  layout.mutable_tensors(2)->set_shape(1, 127);  // of what comes in
  EXPECT_FALSE(WidthsOf(layout).ok());
  layout = Request().config().layout();
  layout.mutable_tensors(2)->set_name("w3");
  EXPECT_FALSE(WidthsOf(layout).ok());
  layout = Request().config().layout();
  layout.mutable_tensors()->RemoveLast();
  EXPECT_FALSE(WidthsOf(layout).ok());
}

}  // namespace
}  // namespace talweg
