// SPDX-License-Identifier: Apache-2.0
#include "server/wire/search_from_proto.h"

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

v1::AskRequest AskRequest() {
  v1::AskRequest request;
  request.set_session_id("s");
  request.set_history(7);
  request.set_worker("a");
  request.set_incarnation(3);
  return request;
}

v1::TellRequest TellRequest() {
  v1::TellRequest request;
  request.set_session_id("s");
  request.set_history(7);
  request.set_worker("a");
  request.set_incarnation(3);
  request.set_generation(5);
  request.set_lease(6);
  request.set_first_pair(4);
  request.add_losses(0.5f);
  request.add_losses(-0.5f);
  return request;
}

// "FIELD_OUT_OF_RANGE losses"; empty if there is no error.
std::string ErrorOf(const absl::Status& status) {
  if (status.ok()) return "";
  return core::ReasonName(status) + " " + core::FieldName(status);
}
std::string AskError(const std::function<void(v1::AskRequest&)>& set) {
  v1::AskRequest request = AskRequest();
  set(request);
  return ErrorOf(AskFromProto(request).status());
}
std::string TellError(const std::function<void(v1::TellRequest&)>& set) {
  v1::TellRequest request = TellRequest();
  set(request);
  return ErrorOf(TellFromProto(request).status());
}

TEST(AskFromProtoTest, CarriesEverything) {
  v1::AskRequest request = AskRequest();
  request.set_capacity(131072);
  core::Ask ask = *AskFromProto(request);
  EXPECT_EQ(ask.history, 7u);
  EXPECT_EQ(ask.worker, "a");
  EXPECT_EQ(ask.incarnation, 3u);
  EXPECT_EQ(ask.capacity, 131072u);
  EXPECT_TRUE(ask.may_wait);
  request.set_no_wait(true);
  request.clear_capacity();
  ask = *AskFromProto(request);
  EXPECT_FALSE(ask.may_wait);
  EXPECT_EQ(ask.capacity, 1u);
}

TEST(AskFromProtoTest, NamesTheFieldThatIsWrong) {
  EXPECT_EQ(AskError([](auto& r) { r.clear_worker(); }), "FIELD_REQUIRED worker");
  EXPECT_EQ(AskError([](auto& r) { r.set_worker(std::string(1000, 'a')); }),
            "FIELD_OUT_OF_RANGE worker");
  EXPECT_EQ(AskError([](auto& r) { r.clear_history(); }), "FIELD_REQUIRED history");
  EXPECT_EQ(AskError([](auto& r) { r.clear_incarnation(); }), "FIELD_REQUIRED incarnation");
  EXPECT_EQ(AskError([](auto& r) { r.set_capacity(131073); }), "FIELD_OUT_OF_RANGE capacity");
}

TEST(TellFromProtoTest, CarriesEverything) {
  v1::TellRequest request = TellRequest();
  request.set_num_examples(uint64_t{1} << 40);
  request.add_statuses(v1::PAIR_STATUS_FAILED);
  core::Tell tell = *TellFromProto(request);
  EXPECT_EQ(tell.history, 7u);
  EXPECT_EQ(tell.worker, "a");
  EXPECT_EQ(tell.incarnation, 3u);
  EXPECT_EQ(tell.generation, 5u);
  EXPECT_EQ(tell.lease, 6u);
  EXPECT_EQ(tell.first_pair, 4u);
  EXPECT_FALSE(tell.evaluate);
  EXPECT_EQ(tell.losses, (std::vector<double>{0.5, -0.5}));
  EXPECT_EQ(tell.statuses, (std::vector<core::PairStatus>{core::PairStatus::kFailed}));
  EXPECT_EQ(tell.num_examples, uint64_t{1} << 40);
  request.set_evaluate(true);
  EXPECT_TRUE(TellFromProto(request)->evaluate);
}

TEST(TellFromProtoTest, LossesMayBeDouble) {
  v1::TellRequest request = TellRequest();
  request.clear_losses();
  request.add_double_losses(0.1);
  request.add_double_losses(std::nan(""));
  const core::Tell tell = *TellFromProto(request);
  EXPECT_EQ(tell.losses[0], 0.1);
  EXPECT_TRUE(std::isnan(tell.losses[1]));  // what becomes of it is for the policy to say
}

TEST(TellFromProtoTest, EveryStatusHasItsName) {
  for (const auto& [status, expected] :
       {std::pair(v1::PAIR_STATUS_OK, core::PairStatus::kOk),
        std::pair(v1::PAIR_STATUS_FAILED, core::PairStatus::kFailed),
        std::pair(v1::PAIR_STATUS_NON_FINITE, core::PairStatus::kNonFinite)}) {
    v1::TellRequest request = TellRequest();
    request.add_statuses(status);
    EXPECT_EQ(TellFromProto(request)->statuses.front(), expected);
  }
  EXPECT_EQ(v1::PairStatus_descriptor()->value_count(), 4);  // and UNSPECIFIED
}

TEST(TellFromProtoTest, NamesTheFieldThatIsWrong) {
  EXPECT_EQ(TellError([](auto& r) { r.clear_worker(); }), "FIELD_REQUIRED worker");
  EXPECT_EQ(TellError([](auto& r) { r.clear_history(); }), "FIELD_REQUIRED history");
  EXPECT_EQ(TellError([](auto& r) { r.clear_incarnation(); }), "FIELD_REQUIRED incarnation");
  EXPECT_EQ(TellError([](auto& r) { r.clear_generation(); }), "FIELD_REQUIRED generation");
  EXPECT_EQ(TellError([](auto& r) { r.clear_losses(); }), "FIELD_REQUIRED losses");
  EXPECT_EQ(TellError([](auto& r) { r.add_double_losses(1); }), "FIELD_OUT_OF_RANGE losses");
  EXPECT_EQ(TellError([](auto& r) { r.mutable_losses()->Resize(2 * 131072 + 1, 0); }),
            "FIELD_OUT_OF_RANGE losses");
  EXPECT_EQ(TellError([](auto& r) { r.mutable_losses()->Resize(2 * 131072, 0); }), "");
  EXPECT_EQ(TellError([](auto& r) {
              for (int i = 0; i < 3; ++i) r.add_statuses(v1::PAIR_STATUS_OK);
            }),
            "FIELD_OUT_OF_RANGE statuses");
  EXPECT_EQ(TellError([](auto& r) {
              r.add_statuses(v1::PAIR_STATUS_OK);
              r.add_statuses(v1::PAIR_STATUS_UNSPECIFIED);
            }),
            "FIELD_OUT_OF_RANGE statuses[1]");
  EXPECT_EQ(TellError([](auto& r) { r.add_statuses(static_cast<v1::PairStatus>(9)); }),
            "FIELD_OUT_OF_RANGE statuses[0]");
}

}  // namespace
}  // namespace talweg::server
