// SPDX-License-Identifier: Apache-2.0
//
// For tests only: a session that searches, and workers that evaluate for it on one thread. Tests
// that use it live in this namespace.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/noise/perturbation_testing.h"
#include "core/optimizers/optimizer_testing.h"
#include "core/session/pseudo_testing.h"
#include "core/session/session.h"
#include "core/session/session_testing.h"
#include "gtest/gtest.h"

namespace talweg::core::search_session {

inline constexpr uint64_t kHistory = 99;
inline const absl::Time kNow = absl::UnixEpoch() + absl::Hours(1);

inline Schedule ConstantRate(double learning_rate) {
  RateConfig rate;
  rate.learning_rate = learning_rate;
  const DecayKind& kind = *FindDecayKind("constant");
  return Schedule(ConfigOf<RateConfig>(rate), kind, kind.default_config());
}

inline SearchConfig Strategy(uint64_t num_pairs, double sigma) {
  SearchConfig search;
  search.method = SearchMethod::kEvolutionStrategy;
  search.seed = 11;
  search.num_pairs = num_pairs;
  search.sigma = sigma;
  search.scale = EstimateScale::kGradient;
  return search;
}

inline SessionConfig ConfigFor(const Method& method, const SearchConfig& search,
                               std::shared_ptr<const Layout> layout, double learning_rate) {
  SessionConfig config{std::move(layout), &method, method.default_config(),
                       ConstantRate(learning_rate), ConfigOf<AggregationConfig>()};
  config.search = ConfigOf<SearchConfig>(search);
  EXPECT_TRUE(search.Validate().ok()) << search.Validate();
  EXPECT_TRUE(config.Resolve().ok()) << config.Resolve();
  return config;
}

// Gradient descent: with the rate 1 the step is the estimate.
inline SessionConfig Plain(const SearchConfig& search, std::vector<TensorSpec> tensors,
                           double learning_rate = 1) {
  return ConfigFor(*FindMethod("gradient_descent"), search,
                   std::make_shared<const Layout>(*Layout::Create(std::move(tensors))),
                   learning_rate);
}

inline std::unique_ptr<Session> Make(const SessionConfig& config) {
  const uint64_t num_elements = config.layout->num_elements();
  auto initial = std::make_shared<Parameters>(num_elements);
  const std::vector<float> values = PseudoVector(1, num_elements);
  std::copy(values.begin(), values.end(), initial->values.data());
  auto session = std::make_unique<Session>(config, kHistory, initial);
  for (const uint64_t incarnation : {1, 2}) {
    const Join join{incarnation == 1 ? "a" : "b", incarnation, {Role::kSearch}, 0};
    EXPECT_TRUE(session->Handle(join, kNow).effects.status.ok());
  }
  return session;
}

inline std::vector<float> Values(const Session& session) {
  const auto span = session.parameters()->values.span();
  return {span.begin(), span.end()};
}

// The same definition, written down element by element.
inline PlainPerturbation PlainOf(const SessionConfig& config) {
  const SearchConfig& search = config.search.value();
  PlainPerturbation plain{search.seed,
                          search.noise == SearchNoise::kRademacher,
                          static_cast<uint32_t>(search.rank),
                          {}};
  for (size_t tensor = 0; tensor < config.layout->tensors().size(); ++tensor) {
    const std::vector<uint64_t>& shape = config.layout->tensors()[tensor].shape;
    plain.tensors.push_back(
        {config.layout->size_of(tensor), shape.size() >= 2 ? shape.front() : 0});
  }
  return plain;
}

// Answers for worker "a" or "b"; never waits.
inline AskAnswer AskFor(Session& session, const std::string& worker, uint32_t capacity,
                        absl::Time now = kNow) {
  core::Ask ask;
  ask.history = session.history();
  ask.worker = worker;
  ask.incarnation = worker == "a" ? 1 : 2;
  ask.capacity = capacity;
  ask.may_wait = false;
  const Outcome outcome = session.Ask(ask, now);
  EXPECT_TRUE(outcome.effects.status.ok()) << outcome.effects.status;
  EXPECT_EQ(outcome.work, nullptr);
  return outcome.search->asked.value_or(AskAnswer());
}

inline Tell TellOf(const Session& session, const std::string& worker, uint32_t first_pair,
                   std::vector<double> losses) {
  Tell tell;
  tell.history = session.history();
  tell.worker = worker;
  tell.incarnation = worker == "a" ? 1 : 2;
  tell.generation = session.search().Describe(kNow).generation;
  tell.first_pair = first_pair;
  tell.losses = std::move(losses);
  return tell;
}

inline absl::Status PrepareTell(Session& session) {
  return session.PrepareTell([&]() -> absl::StatusOr<std::shared_ptr<Parameters>> {
    return std::make_shared<Parameters>(session.num_elements());
  });
}

// Tells, and takes the step that follows, if one does.
inline TellAnswer TellAndRun(Session& session, const Tell& tell, const Runner& run = RunHere,
                             absl::Time now = kNow) {
  EXPECT_TRUE(PrepareTell(session).ok());
  const Outcome outcome = session.Tell(tell, now);
  EXPECT_TRUE(outcome.effects.status.ok()) << outcome.effects.status;
  if (outcome.work != nullptr) {
    run(*outcome.work);
    const Ended ended = session.End(*outcome.work, now);
    EXPECT_TRUE(ended.step.has_value());
    EXPECT_NE(ended.search, nullptr);
  }
  return outcome.search->told.value_or(TellAnswer());
}

// The loss at a point of a generation. It is called at W + dW and, if that is told, at W - dW.
using LossFunction = std::function<double(const std::vector<float>& point)>;

// A worker asks for `capacity` pairs, evaluates what it gets, and tells it.
inline AskAnswer Evaluate(Session& session, const LossFunction& loss,
                          const std::string& worker = "a", uint32_t capacity = 1000,
                          const Runner& run = RunHere) {
  AskAnswer answer = AskFor(session, worker, capacity);
  if (!answer.lease.has_value()) return answer;
  const EvaluationLease& lease = *answer.lease;
  const SearchConfig& search = session.config().search.value();
  const Perturbation perturbation = PerturbationOf(search, *session.config().layout);
  const std::vector<float> w = Values(session);
  Tell tell = TellOf(session, worker, lease.first_pair, {});
  tell.lease = lease.lease;
  tell.evaluate = lease.num_pairs == 0;
  if (tell.evaluate) tell.losses = {loss(w)};
  std::vector<float> point(w.size());
  for (uint32_t pair = lease.first_pair; pair < lease.first_pair + lease.num_pairs; ++pair) {
    for (const float sign : {1.0f, -1.0f}) {
      if (sign < 0 && search.losses_per_pair() == 1) continue;
      perturbation.Perturb({lease.generation, pair}, sign * lease.sigma, 0, w, point);
      tell.losses.push_back(loss(point));
    }
  }
  EXPECT_EQ(TellAndRun(session, tell, run).verdict, TellVerdict::kAccepted);
  return answer;
}

// Both workers evaluate, in turn and a few pairs at a time, until there is another version.
inline void MakeVersion(Session& session, const LossFunction& loss, const Runner& run = RunHere,
                        uint32_t capacity = 3) {
  const uint64_t version = session.version();
  for (int turns = 0; session.version() == version; ++turns) {
    ASSERT_LT(turns, 100000);
    Evaluate(session, loss, turns % 2 == 0 ? "a" : "b", capacity, run);
  }
}

}  // namespace talweg::core::search_session
