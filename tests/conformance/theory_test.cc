// SPDX-License-Identifier: Apache-2.0
//
// The experiments on theory against a server of its own: what it computes is what the books say.
// Nothing here is drawn anew, so a number that fits once fits always.
#include <gtest/gtest.h>

#include "client/experiments/theory/ill_conditioned.h"
#include "client/experiments/theory/rates.h"
#include "tests/support/server_process.h"

namespace talweg {
namespace {

class TheoryTest : public ::testing::Test {
 protected:
  testing::ServerProcess server_;
  const Client client_ = Client::Connect(server_.address()).value();
};

TEST_F(TheoryTest, AnIllConditionedValleyTakesTheStepsOfTheory) {
  IllConditionedOptions options;
  options.dimensions = {2, 20};
  const auto runs = DescendIllConditioned(client_, options, nullptr);
  ASSERT_TRUE(runs.ok()) << runs.status();
  ASSERT_EQ(runs->size(), 10u);
  for (size_t first = 0; first < runs->size(); first += 5) {
    const IllConditionedRun* run = &(*runs)[first];
    const IllConditionedRun& gradient_descent = run[0];
    const IllConditionedRun& momentum = run[2];
    const IllConditionedRun& nesterov = run[4];
    for (int i = 0; i < 5; ++i) {
      EXPECT_TRUE(run[i].arrived) << run[i].name;
      // float32 may round a step or two away.
      EXPECT_NEAR(static_cast<double>(run[i].steps), static_cast<double>(run[i].predicted_steps),
                  2 + 0.002 * static_cast<double>(run[i].predicted_steps))
          << run[i].name;
    }
    EXPECT_GT(gradient_descent.steps, 10 * momentum.steps);
    EXPECT_GT(gradient_descent.steps, 10 * nesterov.steps);
    // From wall to wall, a damped swing, straight down.
    EXPECT_GT(gradient_descent.travel_across, 900);
    EXPECT_LT(momentum.travel_across, 30);
    EXPECT_LT(nesterov.travel_across, 1.01);
  }
  EXPECT_TRUE(client_.ListSessions()->empty());
}

TEST_F(TheoryTest, LossesFallLikeThePowersOfTheory) {
  RatesOptions options;
  options.num_steps = 600;
  options.num_noisy_steps = 4000;
  options.num_seeds = 4;
  const auto runs = MeasureRates(client_, options, nullptr);
  ASSERT_TRUE(runs.ok()) << runs.status();
  ASSERT_EQ(runs->size(), 3u);
  for (const RatesRun& run : *runs) {
    EXPECT_LT(run.Deviation(), 0.1) << run.name << ": slope " << run.fit.slope;
  }
  // Below the bounds, and by the same factor at every step: log(1e8) in the limit.
  EXPECT_NEAR(1 / (*runs)[0].bound_share, 18.4, 0.3);
  EXPECT_NEAR(1 / (*runs)[1].bound_share, 18.4, 2);
  EXPECT_TRUE(client_.ListSessions()->empty());
}

}  // namespace
}  // namespace talweg
