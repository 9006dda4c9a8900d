// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/evaluate_leases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/mnist/network.h"
#include "client/experiments/search/mnist_losses.h"

namespace talweg {
namespace {

using ::testing::ElementsAre;

constexpr size_t kSize = 4;
const core::Perturbation kPerturbation(5, core::NoiseScheme::kNormal, 0, {{kSize, 0}});

v1::EvaluationLease Lease(v1::Differences differences) {
  v1::EvaluationLease lease;
  lease.set_generation(3);
  lease.set_first_pair(7);
  lease.set_num_pairs(2);
  lease.set_sigma(0.5f);
  lease.set_differences(differences);
  lease.set_data_seed(11);
  return lease;
}

auto Near(double value) { return ::testing::DoubleNear(value, 1e-5); }

// The third element, plus the data seed.
double Third(absl::Span<const float> point, uint64_t data_seed) {
  return static_cast<double>(point[2]) + static_cast<double>(data_seed);
}

TEST(PointByPointTest, TellsTheLossesThatALeaseAsksFor) {
  const std::vector<float> parameters = {1, 2, 3, 4};
  std::vector<float> changes[2];
  for (uint32_t i = 0; i < 2; ++i) {
    changes[i].resize(kSize);
    kPerturbation.Displacement({3, 7 + i}, 0.5f, 0, changes[i]);
  }
  const EvaluateLease evaluate = PointByPoint(Third);
  std::vector<double> losses;
  v1::EvaluationLease lease = Lease(v1::DIFFERENCES_CENTRAL);
  ASSERT_TRUE(evaluate({lease, kPerturbation, parameters}, losses).ok());
  EXPECT_THAT(losses, ElementsAre(Near(14 + changes[0][2]), Near(14 - changes[0][2]),
                                  Near(14 + changes[1][2]), Near(14 - changes[1][2])));
  losses.clear();
  lease = Lease(v1::DIFFERENCES_ONE_SIDED);
  ASSERT_TRUE(evaluate({lease, kPerturbation, parameters}, losses).ok());
  EXPECT_THAT(losses, ElementsAre(Near(14 + changes[0][2]), Near(14 + changes[1][2])));
  losses.clear();
  lease.set_num_pairs(0);
  lease.set_evaluate(true);
  ASSERT_TRUE(evaluate({lease, kPerturbation, parameters}, losses).ok());
  EXPECT_THAT(losses, ElementsAre(14));
  lease = Lease(v1::DIFFERENCES_DIRECTIONAL);
  EXPECT_FALSE(evaluate({lease, kPerturbation, parameters}, losses).ok());
}

TEST(MnistLossesTest, AllWorkersOfAGenerationSeeTheSameImages) {
  const MnistData data = LoadMnist(TALWEG_MNIST_FOLDER).value();
  const MnistBatch batch = BatchOfSeed(data.train, 20, 5);
  const MnistBatch again = BatchOfSeed(data.train, 20, 5);
  EXPECT_EQ(batch.inputs, again.inputs);
  EXPECT_EQ(batch.labels, again.labels);
  EXPECT_NE(BatchOfSeed(data.train, 20, 6).inputs, batch.inputs);
  for (const float input : batch.inputs) {
    EXPECT_GE(input, 0);
    EXPECT_LE(input, 1);
  }

  const std::vector<size_t> widths = {MnistSet::kPixels, 10};
  const size_t num_parameters = MnistSet::kPixels * 10 + 10;
  const core::Perturbation perturbation(2, core::NoiseScheme::kNormal, 0,
                                        {{MnistSet::kPixels * 10, 10}, {10, 0}});
  std::vector<float> parameters(num_parameters);
  for (size_t i = 0; i < num_parameters; ++i) {
    parameters[i] = 0.01f * static_cast<float>(i % 7) - 0.03f;
  }
  MnistLosses evaluation(data.train, widths, 20);
  v1::EvaluationLease lease = Lease(v1::DIFFERENCES_CENTRAL);
  lease.set_data_seed(5);
  std::vector<double> losses;
  ASSERT_TRUE(evaluation.Evaluate({lease, perturbation, parameters}, losses).ok());
  ASSERT_EQ(losses.size(), 4u);
  Network<float> network(widths);
  std::vector<float> point(num_parameters);
  perturbation.Perturb({3, 8}, -0.5f, 0, parameters, point);
  EXPECT_NEAR(losses[3], network.Evaluate(point, batch.inputs, batch.labels).loss, 1e-4);
  EXPECT_EQ(losses[3], static_cast<float>(losses[3]));
  losses.clear();
  lease.set_num_pairs(0);
  lease.set_evaluate(true);
  ASSERT_TRUE(evaluation.Evaluate({lease, perturbation, parameters}, losses).ok());
  EXPECT_NEAR(losses.at(0), network.Evaluate(parameters, batch.inputs, batch.labels).loss, 1e-6);
}

}  // namespace
}  // namespace talweg
