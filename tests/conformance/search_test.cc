// SPDX-License-Identifier: Apache-2.0
//
// Search over real connections: workers share generations, whatever becomes of them, and a replay
// has the bits of the server.
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/perturbation.h"
#include "client/replay/replay.h"
#include "gtest/gtest.h"
#include "server/server.h"

namespace talweg {
namespace {

// Sum of squares, and a little of the third element.
float LossAt(const std::vector<float>& w) {
  float sum = 0;
  for (const float x : w) sum += x * x;
  return sum + 0.1f * w[2];
}

class SearchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto started = server::Server::Start({.address = "127.0.0.1:0", .num_threads = 2});
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
    client_ = std::make_unique<Client>(Client::Connect(server_->address()).value());
  }

  // Two matrices and a vector, 3 x 4 + 5 + 2 x 3 x 2 elements, each 0.5.
  static v1::CreateSessionRequest Asked(const std::string& id) {
    v1::CreateSessionRequest request;
    request.set_session_id(id);
    v1::SessionConfig& config = *request.mutable_config();
    for (const std::vector<uint64_t>& shape : {std::vector<uint64_t>{3, 4}, {5}, {2, 3, 2}}) {
      v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
      tensor.set_name(absl::StrCat("t", config.layout().tensors_size()));
      tensor.mutable_shape()->Assign(shape.begin(), shape.end());
    }
    config.mutable_optimizer()->mutable_adam();
    config.mutable_schedule()->set_learning_rate(0.05);
    v1::SearchPolicy& search = *config.mutable_search();
    search.set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
    search.set_num_pairs(20);
    search.set_sigma(0.05);
    search.set_seed(7);
    v1::InitialValueRule& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
    rule.set_tensors("*");
    rule.mutable_constant()->set_value(0.5);
    return request;
  }

  // Works until the search is finished, and returns how many leases it got.
  static int Work(Client client, const std::string& id, const std::string& worker,
                  uint32_t capacity) {
    Session session = client.Join(id, worker).value();
    const v1::Layout layout = client.GetSession(id)->config().layout();
    std::vector<float> w(29);
    std::vector<float> point(29);
    uint64_t have = UINT64_MAX;
    std::optional<v1::EvaluationLease> next;  // that came with the answer to a tell
    for (int num_leases = 0;; ++num_leases) {
      v1::EvaluationLease lease;
      if (next.has_value()) {
        lease = *next;
      } else {
        const v1::AskResponse answer = session.Ask(capacity).value();
        if (!answer.has_lease()) {
          EXPECT_TRUE(answer.has_finished());
          return num_leases;
        }
        lease = answer.lease();
      }
      next.reset();
      if (have != lease.version()) {
        PullOptions pull;
        pull.point = lease.point();
        have = session.Pull(absl::MakeSpan(w), pull).value();
      }
      if (have != lease.version()) continue;  // others have closed it meanwhile
      const core::Perturbation perturbation = PerturbationOf(layout, lease);
      std::vector<float> losses;
      if (lease.evaluate()) losses.push_back(LossAt(w));
      for (uint32_t pair = lease.first_pair(); pair < lease.first_pair() + lease.num_pairs();
           ++pair) {
        for (const float sign : {1.0f, -1.0f}) {
          if (sign < 0 && lease.differences() != v1::DIFFERENCES_CENTRAL) continue;
          perturbation.Perturb({lease.generation(), pair}, sign * lease.sigma(), 0, w, point);
          losses.push_back(LossAt(point));
        }
      }
      const auto told =
          num_leases % 2 == 0
              ? session.Tell(lease, losses, losses.size(), num_leases % 3 == 0 ? 0 : capacity)
              : session.Tell(lease, std::vector<double>(losses.begin(), losses.end()),
                             losses.size(), num_leases % 3 == 0 ? 0 : capacity);
      EXPECT_TRUE(told.ok()) << told.status();
      if (told->finished()) return num_leases + 1;
      if (told->has_lease()) next = told->lease();
    }
  }

  std::vector<float> Parameters(const std::string& id) {
    std::vector<float> w(29);
    EXPECT_TRUE(client_->Pull(id, absl::MakeSpan(w)).ok());
    return w;
  }

  // Replays all generations from version 0 and compares.
  void ExpectReplayed(const v1::CreateSessionRequest& request) {
    const v1::Session session = client_->GetSession(request.session_id()).value();
    Replay replay = Replay::Begin(session.config(), 0, std::vector<float>(29, 0.5f)).value();
    const absl::Status replayed = client_->WatchGenerations(
        request.session_id(), {}, [&](const auto& message) { return replay.Apply(message); });
    ASSERT_TRUE(replayed.ok()) << replayed;
    EXPECT_EQ(replay.version(), session.version());
    const std::vector<float> expected = Parameters(request.session_id());
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), replay.parameters().begin()));
  }

  std::unique_ptr<server::Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(SearchTest, TwoWorkersDescendAndAReplayHasTheSameBits) {
  v1::CreateSessionRequest request = Asked("s");
  request.mutable_config()->mutable_search()->set_max_generations(60);
  ASSERT_TRUE(client_->CreateSession(request).ok());
  int leases[2];
  std::thread other([&] { leases[1] = Work(*client_, "s", "b", 3); });
  leases[0] = Work(*client_, "s", "a", 4);
  other.join();
  const v1::Session session = client_->GetSession("s").value();
  EXPECT_EQ(session.version(), 60u);
  EXPECT_GE(leases[0] + leases[1], 60 * 5);
  EXPECT_LT(LossAt(Parameters("s")), 0.1f);  // 7.3 at the beginning
  const v1::SearchReport& report = session.last_step().search();
  EXPECT_EQ(report.num_counted(), 20u);
  EXPECT_EQ(report.num_examples(), 40u);
  EXPECT_GT(report.weight_norm(), 0);
  ExpectReplayed(request);
}

TEST_F(SearchTest, EveryKindOfSearchDescendsAndReplays) {
  std::vector<v1::CreateSessionRequest> requests;
  const auto add = [&](const std::string& name) -> v1::SessionConfig& {
    v1::CreateSessionRequest& request = requests.emplace_back(Asked(name));
    request.mutable_config()->mutable_search()->set_max_generations(40);
    return *request.mutable_config();
  };
  add("ranks").mutable_search()->set_shaping(v1::SHAPING_CENTERED_RANKS);
  add("z_score").mutable_search()->set_shaping(v1::SHAPING_Z_SCORE);
  add("signs").mutable_search()->set_noise(v1::NOISE_SCHEME_RADEMACHER);
  v1::SearchPolicy* search = add("low_rank").mutable_search();
  search->set_perturbation(v1::PERTURBATION_LOW_RANK);
  search->set_rank(2);
  search = add("one_sided").mutable_search();
  search->set_differences(v1::DIFFERENCES_ONE_SIDED);
  search->set_baseline(v1::BASELINE_EVALUATED);
  search = add("loss_weighted").mutable_search();
  search->set_method(v1::SEARCH_METHOD_RANDOM_SEARCH);
  search->set_acceptance(v1::ACCEPTANCE_LOSS_WEIGHTED);
  search->set_baseline(v1::BASELINE_MEAN);
  v1::SessionConfig* config = &add("if_better");
  config->mutable_search()->set_method(v1::SEARCH_METHOD_RANDOM_SEARCH);
  config->mutable_optimizer()->mutable_gradient_descent();
  config->mutable_schedule()->set_learning_rate(1);
  config = &add("tutorial");
  config->mutable_optimizer()->mutable_gradient_descent();
  config->mutable_schedule()->set_learning_rate(40);
  config = &add("nesterov");
  config->mutable_optimizer()->mutable_nesterov();
  config->mutable_schedule()->set_learning_rate(0.02);
  for (const v1::CreateSessionRequest& request : requests) {
    SCOPED_TRACE(request.session_id());
    const auto created = client_->CreateSession(request);
    ASSERT_TRUE(created.ok()) << created.status();
    Work(*client_, request.session_id(), "a", 7);
    EXPECT_LT(LossAt(Parameters(request.session_id())), 6.5f);
    ExpectReplayed(request);
  }
}

}  // namespace
}  // namespace talweg
