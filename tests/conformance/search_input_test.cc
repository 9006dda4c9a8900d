// SPDX-License-Identifier: Apache-2.0
//
// Calls of a search that are wrong, over a real connection: each gets a verdict or a reason, and
// nothing has changed.
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "talweg/v1/search_service.grpc.pb.h"
#include "tests/conformance/serving_test.h"

namespace talweg {
namespace {

using testing::ErrorOf;

class SearchInputTest : public testing::ServingTest {
 protected:
  void SetUp() override {
    ServingTest::SetUp();
    search_ = v1::SearchService::NewStub(wire_->channel());
    Create("s");
  }

  static v1::CreateSessionRequest Searching(const std::string& id) {
    v1::CreateSessionRequest create = testing::VectorSession(id, 100);
    v1::SearchPolicy& search = *create.mutable_config()->mutable_search();
    search.set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
    search.set_num_pairs(4);
    search.set_sigma(0.5);
    return create;
  }
  void Create(const std::string& id) {
    const grpc::Status created = wire_->Create(Searching(id));
    ASSERT_TRUE(created.ok()) << created.error_message();
    joined_ = wire_->Join(id, "a");
  }

  template <class Request>
  Request Of(const std::string& worker = "a", const std::string& id = "s") const {
    return testing::PlaceRequest<Request>(id, joined_, worker);
  }
  v1::AskRequest AskOf(uint32_t capacity) const {
    auto request = Of<v1::AskRequest>();
    request.set_capacity(capacity);
    request.set_no_wait(true);
    return request;
  }
  v1::TellRequest TellOf(uint32_t generation, uint32_t first, const std::vector<float>& losses) {
    auto request = Of<v1::TellRequest>();
    request.set_generation(generation);
    request.set_lease(lease_);
    request.set_first_pair(first);
    request.mutable_losses()->Assign(losses.begin(), losses.end());
    return request;
  }

  grpc::Status Ask(const v1::AskRequest& request, v1::AskResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::AskResponse ignored;
    if (response == nullptr) response = &ignored;
    const grpc::Status status = search_->Ask(&context, request, response);
    if (status.ok() && response->has_lease()) lease_ = response->lease().lease();
    return status;
  }
  // "ACCEPTED"; or the reason and the field of the error.
  std::string Tell(const v1::TellRequest& request, v1::TellResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::TellResponse ignored;
    if (response == nullptr) response = &ignored;
    const grpc::Status status = search_->Tell(&context, request, response);
    if (!status.ok()) return Said(status);
    return v1::TellVerdict_Name(response->verdict()).substr(sizeof("TELL_VERDICT_") - 1);
  }
  static std::string Said(const grpc::Status& status) {
    const testing::WireError error = ErrorOf(status);
    return error.field.empty() ? error.reason : absl::StrCat(error.reason, " ", error.field);
  }
  // Closes the open generation.
  void MakeVersion(uint32_t generation) {
    ASSERT_TRUE(Ask(AskOf(4)).ok());
    ASSERT_EQ(Tell(TellOf(generation, 0, {1, 2, 3, 4, 5, 6, 7, 9})), "ACCEPTED");
  }
  // Changes the fields `paths` of a session's configuration to what `set` sets.
  grpc::Status Update(const std::string& id, const std::vector<std::string>& paths,
                      const std::function<void(v1::SearchPolicy&)>& set) {
    v1::UpdateSessionRequest update;
    update.set_session_id(id);
    for (const std::string& path : paths) update.mutable_update_mask()->add_paths(path);
    set(*update.mutable_config()->mutable_search());
    grpc::ClientContext context;
    v1::UpdateSessionResponse updated;
    return wire_->sessions().UpdateSession(&context, update, &updated);
  }
  // The messages of a stream of generations, and how it ended.
  std::string Watch(v1::WatchGenerationsRequest request,
                    std::vector<v1::WatchGenerationsResponse>* messages = nullptr) {
    grpc::ClientContext context;
    const auto stream = search_->WatchGenerations(&context, request);
    v1::WatchGenerationsResponse message;
    while (stream->Read(&message)) {
      if (messages != nullptr) messages->push_back(message);
    }
    const grpc::Status status = stream->Finish();
    return status.ok() ? "" : Said(status);
  }

  v1::JoinResponse joined_;
  uint32_t lease_ = 1;  // that was given last
  std::unique_ptr<v1::SearchService::Stub> search_;
};

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST_F(SearchInputTest, TellsThatAreWrongChangeNothing) {
  MakeVersion(1);
  ASSERT_TRUE(Ask(AskOf(2)).ok());  // pairs 0 and 1 of generation 2
  ASSERT_EQ(Tell(TellOf(2, 0, {1, 2})), "ACCEPTED");
  const uint32_t checksum = wire_->Checksum("s");
  const auto with = [&](const std::function<void(v1::TellRequest&)>& set) {
    v1::TellRequest request = TellOf(2, 1, {1, 2});
    set(request);
    return request;
  };
  const struct {
    const char* what;
    v1::TellRequest request;
    const char* expected;
  } rows[] = {
      {"told before", TellOf(2, 0, {8, 9}), "REPEATED"},
      {"never leased", TellOf(2, 2, {1, 2}), "NOT_LEASED"},
      {"a part of it never leased", TellOf(2, 1, {1, 2, 3, 4}), "NOT_LEASED"},
      {"an old generation", TellOf(1, 1, {1, 2}), "LATE"},
      {"an old generation, far away", TellOf(1, 4'000'000'000, {1, 2}), "LATE"},
      {"a generation ahead", TellOf(3, 0, {1, 2}), "FIELD_OUT_OF_RANGE generation"},
      {"no generation", TellOf(0, 0, {1, 2}), "FIELD_REQUIRED generation"},
      {"no lease", with([](auto& r) { r.clear_lease(); }), "FIELD_REQUIRED lease"},
      {"one loss of two", TellOf(2, 1, {1}), "FIELD_OUT_OF_RANGE losses"},
      {"three losses", TellOf(2, 1, {1, 2, 3}), "FIELD_OUT_OF_RANGE losses"},
      {"no loss", TellOf(2, 1, {}), "FIELD_REQUIRED losses"},
      {"beyond the generation", TellOf(2, 4, {1, 2}), "FIELD_OUT_OF_RANGE first_pair"},
      {"a huge first pair", TellOf(2, 4'294'967'295, {1, 2}), "FIELD_OUT_OF_RANGE first_pair"},
      {"more than the generation", TellOf(2, 0, std::vector<float>(10)),
       "FIELD_OUT_OF_RANGE first_pair"},
      {"an evaluation that there is not", with([](auto& r) {
         r.set_evaluate(true);
         r.set_first_pair(0);
         r.mutable_losses()->Truncate(1);
       }),
       "NOT_LEASED"},
      {"an evaluation with two losses", with([](auto& r) {
         r.set_evaluate(true);
         r.set_first_pair(0);
       }),
       "FIELD_OUT_OF_RANGE losses"},
      {"float and double losses", with([](auto& r) { r.add_double_losses(1); }),
       "FIELD_OUT_OF_RANGE losses"},
      {"too many statuses", with([](auto& r) {
         r.add_statuses(v1::PAIR_STATUS_OK);
         r.add_statuses(v1::PAIR_STATUS_OK);
       }),
       "FIELD_OUT_OF_RANGE statuses"},
      {"no status", with([](auto& r) { r.add_statuses(v1::PAIR_STATUS_UNSPECIFIED); }),
       "FIELD_OUT_OF_RANGE statuses[0]"},
      {"too large a capacity", with([](auto& r) { r.set_capacity(131073); }),
       "FIELD_OUT_OF_RANGE capacity"},
      {"another history", with([](auto& r) { r.set_history(r.history() + 1); }), "HISTORY_CHANGED"},
      {"no history", with([](auto& r) { r.clear_history(); }), "FIELD_REQUIRED history"},
      {"a stranger", with([](auto& r) { r.set_worker("b"); }), "WORKER_NOT_JOINED"},
      {"no worker", with([](auto& r) { r.clear_worker(); }), "FIELD_REQUIRED worker"},
      {"an incarnation to come", with([](auto& r) { r.set_incarnation(r.incarnation() + 1); }),
       "WORKER_NOT_JOINED"},
      {"another session", with([](auto& r) { r.set_session_id("t"); }), "SESSION_NOT_FOUND"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(Tell(row.request), row.expected) << row.what;
    EXPECT_EQ(wire_->Checksum("s"), checksum) << row.what;
  }
  EXPECT_EQ(Tell(TellOf(2, 1, {1, 2})), "ACCEPTED");
}

TEST_F(SearchInputTest, LossesOfSomebodyElsesPairsCountOnce) {
  ASSERT_TRUE(Ask(AskOf(4)).ok());
  const v1::JoinResponse other = wire_->Join("s", "b");
  auto tell = testing::PlaceRequest<v1::TellRequest>("s", other, "b");
  tell.set_generation(1);
  tell.set_lease(1);
  tell.set_first_pair(1);
  for (const float loss : {1, 2}) tell.add_losses(loss);
  EXPECT_EQ(Tell(tell), "ACCEPTED");
  EXPECT_EQ(Tell(TellOf(1, 1, {7, 8})), "REPEATED");
  v1::TellResponse response;
  EXPECT_EQ(Tell(TellOf(1, 0, {1, 2, 7, 8, 5, 6, 7, 9}), &response), "ACCEPTED");
  EXPECT_EQ(response.num_accepted(), 3u);
  EXPECT_EQ(response.num_repeated(), 1u);
  EXPECT_EQ(response.version(), 1u);
  std::vector<v1::WatchGenerationsResponse> messages;
  auto watch = v1::WatchGenerationsRequest();
  watch.set_session_id("s");
  EXPECT_EQ(Watch(watch, &messages), "");
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].record().losses(2), 1);
  EXPECT_EQ(messages[0].record().losses(3), 2);
}

TEST_F(SearchInputTest, ALossThatIsNotFiniteDropsItsPairWhole) {
  ASSERT_TRUE(Ask(AskOf(4)).ok());
  v1::TellResponse response;
  EXPECT_EQ(Tell(TellOf(1, 0, {1, 2, 3, kNan, 5, 6, HUGE_VALF, 9}), &response), "ACCEPTED");
  EXPECT_EQ(response.num_accepted(), 2u);
  EXPECT_EQ(response.num_dropped(), 2u);
  const v1::Session session = wire_->Get("s");
  EXPECT_EQ(session.version(), 1u);
  EXPECT_EQ(session.last_step().search().num_counted(), 2u);
  EXPECT_EQ(session.last_step().num_non_finite(), 0u);
  for (const float value : PullAll("s")) EXPECT_TRUE(std::isfinite(value));
}

TEST_F(SearchInputTest, NoLossMakesParametersThatAreNotFiniteUnlessItIsHuge) {
  v1::CreateSessionRequest create = Searching("z");
  create.mutable_config()->mutable_search()->set_shaping(v1::SHAPING_Z_SCORE);
  create.mutable_config()->mutable_search()->set_scale(v1::SCALE_GRADIENT);
  ASSERT_TRUE(wire_->Create(create).ok());
  joined_ = wire_->Join("z", "a");
  auto ask = testing::PlaceRequest<v1::AskRequest>("z", joined_, "a");
  ask.set_capacity(4);
  uint32_t generation = 0;
  for (const std::vector<double>& losses :
       std::vector<std::vector<double>>{{0, 1e-170, 0, 3e-170, 0, 0, 0, 0},
                                        {.1, .1, .1, .1, .1, .1, .1, .1},
                                        {1e30, -1e30, 1, 2, 3, 4, 5, 6},
                                        {1e-45, 0, 0, 0, 0, 0, 0, 0}}) {
    ASSERT_TRUE(Ask(ask).ok());
    auto tell = testing::PlaceRequest<v1::TellRequest>("z", joined_, "a");
    tell.set_generation(++generation);
    tell.set_lease(lease_);
    tell.mutable_double_losses()->Assign(losses.begin(), losses.end());
    EXPECT_EQ(Tell(tell), "ACCEPTED");
    for (const float value : PullAll("z")) ASSERT_TRUE(std::isfinite(value)) << generation;
  }
}

TEST_F(SearchInputTest, AsksThatAreWrongLeaseNothing) {
  const auto with = [&](const std::function<void(v1::AskRequest&)>& set) {
    v1::AskRequest request = AskOf(2);
    set(request);
    return Said(Ask(request));
  };
  EXPECT_EQ(with([](auto& r) { r.set_capacity(131073); }), "FIELD_OUT_OF_RANGE capacity");
  EXPECT_EQ(with([](auto& r) { r.set_history(r.history() + 1); }), "HISTORY_CHANGED");
  EXPECT_EQ(with([](auto& r) { r.set_worker("b"); }), "WORKER_NOT_JOINED");
  EXPECT_EQ(with([](auto& r) { r.clear_incarnation(); }), "FIELD_REQUIRED incarnation");
  EXPECT_EQ(with([](auto& r) { r.set_session_id("t"); }).substr(0, 17), "SESSION_NOT_FOUND");
  v1::AskResponse answer;
  ASSERT_TRUE(Ask(AskOf(9), &answer).ok());
  EXPECT_EQ(answer.lease().num_pairs(), 4u);
}

TEST_F(SearchInputTest, CallsOfTheOtherKindOfSessionAreRefused) {
  ASSERT_TRUE(wire_->Create(testing::VectorSession("g", 100)).ok());
  const uint32_t searching = wire_->Checksum("s");
  // A step, also one without a gradient, on a session that searches.
  v1::StepRequest step = testing::StepOf("s", joined_, 1, 0, std::vector<float>(100, 1));
  EXPECT_EQ(Said(wire_->Step(step)), "WRONG_METHOD");
  step.clear_sections();
  step.mutable_header()->set_abstain(true);
  EXPECT_EQ(Said(wire_->Step(step)), "WRONG_METHOD");
  testing::WireStream stream(wire_->training());
  v1::StepResponse response;
  v1::StepRequest streamed = testing::StepOf("s", joined_, 1, 0, {});
  streamed.clear_sections();
  stream.Step(streamed, testing::ChunksOf(std::vector<float>(100, 1), 100), &response);
  EXPECT_EQ(Said(stream.Finish()), "WRONG_METHOD");
  EXPECT_EQ(wire_->Checksum("s"), searching);

  // An ask, a tell and a watch on a session that is trained by gradients.
  joined_ = wire_->Join("g", "a");
  const uint32_t trained = wire_->Checksum("g");
  v1::AskRequest ask = AskOf(1);
  ask.set_session_id("g");
  EXPECT_EQ(Said(Ask(ask)), "WRONG_METHOD");
  v1::TellRequest tell = TellOf(1, 0, {1, 2});
  tell.set_session_id("g");
  EXPECT_EQ(Tell(tell), "WRONG_METHOD");
  v1::WatchGenerationsRequest watch;
  watch.set_session_id("g");
  EXPECT_EQ(Watch(watch), "WRONG_METHOD");
  EXPECT_EQ(wire_->Checksum("g"), trained);
}

TEST_F(SearchInputTest, ARoleOfTheOtherKindOfSessionIsRefused) {
  ASSERT_TRUE(wire_->Create(testing::VectorSession("g", 100)).ok());
  for (const auto& [id, role] : {std::pair("s", v1::ROLE_GRADIENT), {"g", v1::ROLE_SEARCH}}) {
    grpc::ClientContext context;
    v1::JoinRequest join;
    join.set_session_id(id);
    join.set_worker("x");
    join.add_roles(role);
    v1::JoinResponse response;
    EXPECT_EQ(Said(wire_->sessions().Join(&context, join, &response)), "WRONG_METHOD roles") << id;
  }
}

TEST_F(SearchInputTest, AWatchSaysWhatIsGoneAndWhatIsStillToCome) {
  MakeVersion(1);
  MakeVersion(2);
  v1::WatchGenerationsRequest watch;
  watch.set_session_id("s");
  std::vector<v1::WatchGenerationsResponse> messages;
  EXPECT_EQ(Watch(watch, &messages), "");
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_TRUE(messages[0].has_config());
  EXPECT_FALSE(messages[1].has_config());
  watch.set_after_version(2);  // nothing yet: one message says where the session is
  messages.clear();
  EXPECT_EQ(Watch(watch, &messages), "");
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_FALSE(messages[0].has_record());
  EXPECT_EQ(messages[0].version(), 2u);
  watch.set_after_version(3);
  EXPECT_EQ(Watch(watch), "VERSION_AHEAD after_version");
  watch.set_after_version(std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(Watch(watch), "VERSION_AHEAD after_version");
  watch.set_after_version(0);
  watch.set_history(joined_.history() + 1);
  EXPECT_EQ(Watch(watch), "HISTORY_CHANGED");
}

TEST_F(SearchInputTest, AWatchFromTooFarBackMustDownload) {
  // 131072 pairs take 2.6 MB: two such generations are more than the server keeps.
  v1::CreateSessionRequest create = Searching("big");
  create.mutable_config()->mutable_search()->set_num_pairs(131072);
  create.mutable_config()->mutable_layout()->mutable_tensors(0)->mutable_shape()->Set(0, 2);
  create.mutable_config()->mutable_search()->set_noise(v1::NOISE_SCHEME_RADEMACHER);
  ASSERT_TRUE(wire_->Create(create).ok());
  joined_ = wire_->Join("big", "a");
  v1::WatchGenerationsRequest watch;
  watch.set_session_id("big");
  for (uint32_t generation = 1; generation <= 2; ++generation) {
    v1::AskRequest ask = AskOf(131072);
    ask.set_session_id("big");
    v1::AskResponse answer;
    ASSERT_TRUE(Ask(ask, &answer).ok());
    ASSERT_EQ(answer.lease().num_pairs(), 131072u);
    v1::TellRequest tell = TellOf(generation, 0, std::vector<float>(262144, 0.5f));
    tell.set_session_id("big");
    ASSERT_EQ(Tell(tell), "ACCEPTED");
  }
  EXPECT_EQ(Watch(watch), "VERSION_GONE after_version");
  watch.set_after_version(1);
  std::vector<v1::WatchGenerationsResponse> messages;
  EXPECT_EQ(Watch(watch, &messages), "");
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].record().losses_size(), 262144);
}

TEST_F(SearchInputTest, AFollowedWatchEndsWithItsSession) {
  MakeVersion(1);
  grpc::ClientContext context;
  v1::WatchGenerationsRequest watch;
  watch.set_session_id("s");
  watch.set_follow(true);
  const auto stream = search_->WatchGenerations(&context, watch);
  v1::WatchGenerationsResponse message;
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.record().version(), 1u);
  MakeVersion(2);
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.record().version(), 2u);
  grpc::ClientContext deletion;
  v1::DeleteSessionRequest request;
  request.set_session_id("s");
  v1::DeleteSessionResponse response;
  ASSERT_TRUE(wire_->sessions().DeleteSession(&deletion, request, &response).ok());
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(Said(stream->Finish()), "SESSION_DELETED");
}

// With ranks a step in the unit of the tutorial goes about 1/sigma too far.
TEST_F(SearchInputTest, RanksOnTheTutorialsScaleMustBeAskedForByName) {
  v1::CreateSessionRequest create = Searching("t");
  create.mutable_config()->mutable_optimizer()->mutable_gradient_descent();
  create.mutable_config()->mutable_search()->set_shaping(v1::SHAPING_CENTERED_RANKS);
  EXPECT_EQ(Said(wire_->Create(create)), "FIELD_REQUIRED config.search.scale");
  create.mutable_config()->mutable_search()->clear_shaping();
  ASSERT_TRUE(wire_->Create(create).ok());
  const auto shape = [](v1::SearchPolicy& search) {
    search.set_shaping(v1::SHAPING_CENTERED_RANKS);
  };
  EXPECT_EQ(Said(Update("t", {"search.shaping"}, shape)), "FIELD_REQUIRED config.search.scale");
  EXPECT_EQ(wire_->Get("t").config().search().shaping(), v1::SHAPING_NONE);
  EXPECT_TRUE(Update("t", {"search.shaping", "search.scale"}, [&](v1::SearchPolicy& search) {
                shape(search);
                search.set_scale(v1::SCALE_TUTORIAL);
              }).ok());
}

TEST_F(SearchInputTest, AFollowedWatchEndsWhenTheSearchIsFinished) {
  MakeVersion(1);
  const auto end_at = [](uint32_t version) {
    return [version](v1::SearchPolicy& search) { search.set_max_generations(version); };
  };
  ASSERT_TRUE(Update("s", {"search.max_generations"}, end_at(2)).ok());
  v1::WatchGenerationsRequest watch;
  watch.set_session_id("s");
  watch.set_follow(true);
  watch.set_after_version(1);
  // The change has opened another generation.
  std::thread close([&] { MakeVersion(3); });
  std::vector<v1::WatchGenerationsResponse> messages;
  EXPECT_EQ(Watch(watch, &messages), "");
  close.join();
  ASSERT_FALSE(messages.empty());
  EXPECT_EQ(messages.back().record().version(), 2u);
  // One that comes later is told where the session is, and no more.
  watch.set_after_version(2);
  messages.clear();
  EXPECT_EQ(Watch(watch, &messages), "");
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_FALSE(messages[0].has_record());
  EXPECT_EQ(messages[0].version(), 2u);
  // It goes on, and one that follows waits; until a change finishes it without a further version.
  ASSERT_TRUE(Update("s", {"search.max_generations"}, end_at(9)).ok());
  grpc::ClientContext context;
  const auto stream = search_->WatchGenerations(&context, watch);
  v1::WatchGenerationsResponse message;
  EXPECT_TRUE(stream->Read(&message));
  ASSERT_TRUE(Update("s", {"search.max_generations"}, end_at(2)).ok());
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(SearchInputTest, AnAskThatWaitsEndsWithItsCallOrItsSession) {
  ASSERT_TRUE(Ask(AskOf(4)).ok());
  const v1::JoinResponse other = wire_->Join("s", "b");
  const auto ask = testing::PlaceRequest<v1::AskRequest>("s", other, "b");
  const auto wait_for = [&](uint32_t num_waiting) {
    for (const absl::Time begin = absl::Now(); absl::Now() - begin < absl::Seconds(60);) {
      if (wire_->Get("s").open_generation().num_waiting() == num_waiting) return;
      absl::SleepFor(absl::Milliseconds(2));
    }
    FAIL() << "there are never " << num_waiting << " calls that wait";
  };
  {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
    v1::AskResponse answer;
    EXPECT_EQ(search_->Ask(&context, ask, &answer).error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  wait_for(0);
  EXPECT_EQ(Tell(TellOf(1, 0, {1, 2, 3, 4, 5, 6, 7, 9})), "ACCEPTED");
  // What was free meanwhile was not leased to the call that is over.
  EXPECT_EQ(wire_->Get("s").open_generation().num_leases(), 0u);

  ASSERT_TRUE(Ask(AskOf(4)).ok());  // all of the next generation
  std::string ended;
  std::thread waiting([&] { ended = Said(Ask(ask)); });
  wait_for(1);
  grpc::ClientContext deletion;
  v1::DeleteSessionRequest request;
  request.set_session_id("s");
  v1::DeleteSessionResponse response;
  EXPECT_TRUE(wire_->sessions().DeleteSession(&deletion, request, &response).ok());
  waiting.join();
  EXPECT_EQ(ended, "SESSION_DELETED");
}

}  // namespace
}  // namespace talweg
