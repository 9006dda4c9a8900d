// SPDX-License-Identifier: Apache-2.0
//
// For tests only: a session that searches, trained in the process by losses that are only numbers,
// and the messages that the server would send of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "client/replay/replay.h"
#include "core/session/search_session_testing.h"
#include "gtest/gtest.h"
#include "server/wire/config_from_proto.h"
#include "server/wire/search_to_proto.h"
#include "talweg/v1/search_service.pb.h"
#include "talweg/v1/session.pb.h"

namespace talweg {

inline std::vector<uint32_t> BitsOf(absl::Span<const float> values) {
  std::vector<uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

// An evolution strategy with 11 pairs over a matrix and a vector.
inline v1::SessionConfig Strategy(uint64_t rows, uint64_t cols) {
  v1::SessionConfig config;
  v1::Tensor& matrix = *config.mutable_layout()->add_tensors();
  matrix.set_name("w");
  matrix.add_shape(rows);
  matrix.add_shape(cols);
  v1::Tensor& vector = *config.mutable_layout()->add_tensors();
  vector.set_name("b");
  vector.add_shape(13);
  config.mutable_optimizer()->mutable_adam();
  config.mutable_schedule()->set_learning_rate(0.125);
  v1::SearchPolicy& search = *config.mutable_search();
  search.set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  search.set_num_pairs(11);
  search.set_sigma(0.25);
  search.set_seed(7);
  return config;
}
// More than one block of 4,096 elements; and few of them.
inline v1::SessionConfig Large() { return Strategy(70, 60); }
inline v1::SessionConfig Small() { return Strategy(5, 4); }
// A method without a state.
inline v1::SessionConfig Descent(v1::SessionConfig config) {
  config.mutable_optimizer()->mutable_gradient_descent();
  config.mutable_schedule()->set_learning_rate(0.5);
  return config;
}

inline uint64_t NumElements(const v1::SessionConfig& config) {
  return config.layout().tensors(0).shape(0) * config.layout().tensors(0).shape(1) + 13;
}

// The server's side: the session, and the message of each generation.
class Trained {
 public:
  explicit Trained(const v1::SessionConfig& config)
      : Trained(config, core::PseudoVector(3, NumElements(config))) {}
  Trained(const v1::SessionConfig& config, std::vector<float> initial)
      : config_(server::ConfigFromProto(config).value()) {
    auto parameters = std::make_shared<core::Parameters>(initial.size());
    std::copy(initial.begin(), initial.end(), parameters->values.data());
    versions_.push_back(std::move(initial));
    session_ = std::make_unique<core::Session>(config_, core::search_session::kHistory, parameters);
    for (const uint64_t incarnation : {1, 2}) {
      const core::Join join{incarnation == 1 ? "a" : "b", incarnation, {core::Role::kSearch}, 0};
      EXPECT_TRUE(session_->Handle(join, core::search_session::kNow).effects.status.ok());
    }
  }

  // The wire's form of the configuration in force: what GetSession tells.
  v1::SessionConfig config() const { return server::ConfigToProto(session_->config()); }
  core::Session& session() { return *session_; }
  const std::vector<v1::WatchGenerationsResponse>& messages() const { return messages_; }
  // The parameters of a version that was made.
  const std::vector<float>& at(uint64_t version) const { return versions_[version]; }

  // Tells losses of the pairs from `first_pair` on, or the one at the parameters, and takes the
  // step that follows, if one does.
  void Tell(const std::string& worker, uint32_t first_pair, std::vector<double> losses,
            bool evaluate = false) {
    core::Tell tell =
        core::search_session::TellOf(*session_, worker, first_pair, std::move(losses));
    tell.evaluate = evaluate;
    ASSERT_TRUE(core::search_session::PrepareTell(*session_).ok());
    const core::Outcome outcome = session_->Tell(tell, core::search_session::kNow);
    ASSERT_TRUE(outcome.effects.status.ok()) << outcome.effects.status;
    if (outcome.work == nullptr) return;
    const v1::SessionConfig used = config();
    outcome.work->RunHere();
    const core::Ended ended = session_->End(*outcome.work, core::search_session::kNow);
    ASSERT_NE(ended.search->made, nullptr);
    v1::WatchGenerationsResponse& message = messages_.emplace_back();
    message.set_version(session_->version());
    *message.mutable_record() = server::GenerationRecordToProto(*ended.search->made);
    if (used.SerializeAsString() != told_config_) *message.mutable_config() = used;
    told_config_ = used.SerializeAsString();
    versions_.push_back(core::search_session::Values(*session_));
  }
  // Makes versions: both workers take leases of up to three pairs in turn, and tell float32 losses
  // that look random, `scale` times [-1, 1).
  void Make(int num_versions, double scale = 1) {
    const uint64_t last = session_->version() + static_cast<uint64_t>(num_versions);
    for (int turn = 0; session_->version() < last; ++turn) {
      ASSERT_LT(turn, 1000);
      const std::string worker = turn % 2 == 0 ? "a" : "b";
      const core::AskAnswer answer = core::search_session::AskFor(*session_, worker, 3);
      ASSERT_TRUE(answer.lease.has_value());
      const core::EvaluationLease& lease = *answer.lease;
      const bool evaluate = lease.num_pairs == 0;
      const size_t per_pair = config_.search.value().losses_per_pair();
      const std::vector<float> told =
          core::PseudoVector(1000 + lease.generation * 100 + lease.first_pair + (evaluate ? 50 : 0),
                             evaluate ? 1 : lease.num_pairs * per_pair);
      std::vector<double> losses(told.begin(), told.end());
      for (double& loss : losses) loss *= scale;
      Tell(worker, lease.first_pair, std::move(losses), evaluate);
    }
  }

 private:
  core::SessionConfig config_;
  std::unique_ptr<core::Session> session_;
  std::vector<std::vector<float>> versions_;
  std::vector<v1::WatchGenerationsResponse> messages_;
  std::string told_config_;
};

inline Replay Begin(const Trained& trained, uint64_t version = 0) {
  return Replay::Begin(trained.messages().front().config(), version, trained.at(version)).value();
}

// That the replay is at a version of the session, bit for bit.
inline void ExpectAt(const Replay& replay, const Trained& trained, uint64_t version) {
  EXPECT_EQ(replay.version(), version);
  EXPECT_TRUE(BitsOf(replay.parameters()) == BitsOf(trained.at(version))) << version;
}

}  // namespace talweg
