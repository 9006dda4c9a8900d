// SPDX-License-Identifier: Apache-2.0
//
// A session that searches: what is for it and what is not, what it keeps in memory, and its saved
// states.
#include <algorithm>
#include <string>
#include <vector>

#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "core/session/search_session_testing.h"
#include "core/session/staged_gradient.h"
#include "gtest/gtest.h"

namespace talweg::core::search_session {
namespace {

double LossOf(const std::vector<float>& point) {
  double loss = 0;
  for (const float x : point) loss += double{x} * x;
  return loss;
}

SessionConfig Small(SearchConfig search = Strategy(4, 0.25)) {
  return Plain(search, {{"w", {3, 4}}, {"b", {5}}}, 0.125);
}

SearchConfig Deadline(double seconds) {
  SearchConfig search = Strategy(4, 0.25);
  search.close = GenerationClose::kDeadline;
  search.close_seconds = seconds;
  return search;
}

TEST(SearchSessionTest, CallsOfTheOtherKindOfSessionAreRefused) {
  const auto searches = Make(Small());
  EXPECT_TRUE(searches->CheckSearches(true).ok());
  EXPECT_EQ(ReasonName(searches->CheckSearches(false)), "WRONG_METHOD");
  EXPECT_EQ(ReasonName(PrepareFor(*searches)), "WRONG_METHOD");
  SessionConfig config = Small();
  config.search = ConfigOf<SearchConfig>();
  ASSERT_TRUE(config.Resolve().ok());
  const Session trains(config, kHistory, std::make_shared<Parameters>(17));
  EXPECT_TRUE(trains.CheckSearches(false).ok());
  EXPECT_EQ(ReasonName(trains.CheckSearches(true)), "WRONG_METHOD");

  EXPECT_EQ(*searches->CheckRoles({}), Roles{Role::kSearch});
  EXPECT_EQ(*searches->CheckRoles({Role::kSearch}), Roles{Role::kSearch});
  EXPECT_EQ(*trains.CheckRoles({}), Roles{Role::kGradient});
  EXPECT_TRUE(trains.CheckRoles({Role::kGradient, Role::kStatistics}).ok());
  for (const Roles roles : {Roles{Role::kGradient}, Roles{Role::kSearch, Role::kGradient},
                            Roles{Role::kSearch, Role::kStatistics}}) {
    EXPECT_EQ(ReasonName(searches->CheckRoles(roles).status()), "WRONG_METHOD");
    EXPECT_EQ(FieldName(searches->CheckRoles(roles).status()), "roles");
  }
  EXPECT_EQ(ReasonName(trains.CheckRoles({Role::kSearch, Role::kGradient}).status()),
            "WRONG_METHOD");
}

TEST(SearchSessionTest, AVersionHasARecordAndAChecksumThatAReplayCanMakeItself) {
  const auto session = Make(Small());
  std::shared_ptr<const GenerationRecord> made;
  AskFor(*session, "a", 4);
  ASSERT_TRUE(PrepareTell(*session).ok());
  const Outcome outcome = session->Tell(TellOf(*session, "a", 0, {1, 2, 3, 4, 5, 6, 7, 9}), kNow);
  ASSERT_NE(outcome.work, nullptr);
  ASSERT_TRUE(outcome.effects.step.has_value());
  EXPECT_EQ(session->version(), 0u);
  outcome.work->RunHere();
  const Ended ended = session->End(*outcome.work, kNow);
  ASSERT_NE(ended.search, nullptr);
  ASSERT_NE(ended.search->made, nullptr);
  ASSERT_NE(ended.effects.made, nullptr);
  EXPECT_EQ(ended.effects.made->version, 1u);
  EXPECT_EQ(ended.effects.made->total_weight, 4);
  const std::vector<float> values = Values(*session);
  const uint32_t block =
      Crc32c({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
  EXPECT_EQ(ended.search->made->parameters_checksum,
            Crc32c({reinterpret_cast<const char*>(&block), sizeof(block)}));
}

TEST(SearchSessionTest, MemoryForAStepIsHeldOnlyWhileLossesAreTold) {
  const auto session = Make(Small());
  int num_allocated = 0;
  const auto prepare = [&] {
    return session->PrepareTell([&]() -> absl::StatusOr<std::shared_ptr<Parameters>> {
      ++num_allocated;
      return std::make_shared<Parameters>(17);
    });
  };
  ASSERT_TRUE(prepare().ok());
  session->ReleaseUnusedMemory();  // nothing was told
  AskFor(*session, "a", 4);
  ASSERT_TRUE(prepare().ok());
  session->Tell(TellOf(*session, "a", 0, {1, 2}), kNow);
  session->ReleaseUnusedMemory();
  ASSERT_TRUE(prepare().ok());
  EXPECT_EQ(num_allocated, 2);
}

TEST(SearchSessionTest, NoMemoryForAStepIsAnErrorBeforeAnythingIsDecided) {
  const auto session = Make(Small());
  const absl::Status status =
      session->PrepareTell([]() -> absl::StatusOr<std::shared_ptr<Parameters>> {
        return MakeError(Reason::kMemoryQuota, "none");
      });
  EXPECT_EQ(ReasonName(status), "MEMORY_QUOTA");
}

TEST(SearchSessionTest, AChangeWaitsForTheGenerationThatHasBegun) {
  const auto session = Make(Small());
  SearchConfig wider = Strategy(6, 0.5);
  Reconfigured changed = session->Reconfigure(0, Small(wider), kNow);
  EXPECT_TRUE(changed.effects.status.ok());
  EXPECT_EQ(session->config().search.value().num_pairs, 6u);  // nothing had begun
  AskFor(*session, "a", 1);
  changed = session->Reconfigure(0, Small(), kNow);
  EXPECT_EQ(session->config().search.value().num_pairs, 6u);
  EXPECT_EQ(session->newest_config().search.value().num_pairs, 4u);
  EXPECT_EQ(session->config_version(), 3u);
  MakeVersion(*session, LossOf);
  EXPECT_EQ(session->config().search.value().num_pairs, 4u);
  // What is fixed stays.
  SearchConfig other = Strategy(4, 0.25);
  other.seed = 12;
  changed = session->Reconfigure(0, Small(other), kNow);
  EXPECT_EQ(ReasonName(changed.effects.status), "FIELD_IMMUTABLE");
}

TEST(SearchSessionTest, TimeAloneMayCloseAGeneration) {
  const auto session = Make(Small(Deadline(3)));
  AskFor(*session, "a", 2);
  TellAndRun(*session, TellOf(*session, "a", 0, {1, 2}));
  session->ReleaseUnusedMemory();
  EXPECT_EQ(session->NextTick(), kNow + absl::Seconds(3));
  const Outcome outcome = session->Handle(Tick{}, kNow + absl::Seconds(3));
  ASSERT_NE(outcome.work, nullptr);
  outcome.work->RunHere();
  session->End(*outcome.work, kNow + absl::Seconds(3));
  EXPECT_EQ(session->version(), 1u);
}

// --- Saved states.

TEST(SavedSearchSessionTest, TimeAloneMayCloseAGenerationThatWasLoaded) {
  const auto session = Make(Small(Deadline(3)));
  AskFor(*session, "a", 2);
  TellAndRun(*session, TellOf(*session, "a", 0, {1, 2}));
  const absl::Time later = kNow + absl::Hours(1);
  const auto loaded = Session::Load(session->Save(), later);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  for (Session* each : {session.get(), loaded->get()}) {
    const absl::Time due = each->NextTick();
    const Outcome outcome = each->Handle(Tick{}, due);
    ASSERT_NE(outcome.work, nullptr);
    outcome.work->RunHere();
    each->End(*outcome.work, due);
    EXPECT_EQ(each->version(), 1u);
  }
  EXPECT_EQ((*loaded)->Save(), session->Save());
}

// A session with everything that its state may have: two sections of configuration, a report,
// pairs of every kind, slots.
std::unique_ptr<Session> Busy() {
  SessionConfig config = Small();
  config.method = FindMethod("adam");
  config.optimizer = config.method->default_config();
  auto session = Make(config);
  MakeVersion(*session, LossOf);
  AskFor(*session, "a", 4);
  Tell tell = TellOf(*session, "a", 0, {1, 2, 3, 4, 5, 6});
  tell.statuses = {PairStatus::kOk, PairStatus::kFailed, PairStatus::kNonFinite};
  TellAndRun(*session, tell);
  config.search = ConfigOf<SearchConfig>(Strategy(5, 0.5));
  EXPECT_TRUE(config.Resolve().ok());
  EXPECT_TRUE(session->Reconfigure(0, config, kNow).effects.status.ok());
  return session;
}

TEST(SavedSearchSessionTest, EveryPrefixIsRefusedWhateverItsChecksum) {
  const std::string bytes = Busy()->Save();
  ASSERT_TRUE(Session::Load(bytes, kNow).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string prefix = bytes.substr(0, size);
    EXPECT_EQ(ReasonName(Session::Load(prefix, kNow).status()), "STATE_CORRUPT") << size;
    if (size + 4 >= bytes.size()) continue;  // The whole body has its checksum.
    ByteWriter checksum;
    checksum.Uint32(Crc32c(prefix));
    EXPECT_EQ(ReasonName(Session::Load(prefix + checksum.bytes(), kNow).status()), "STATE_CORRUPT")
        << size;
  }
}

TEST(SavedSearchSessionTest, NoByteThatIsWrongBreaksTheServer) {
  const std::string bytes = Busy()->Save();
  const std::string body = bytes.substr(0, bytes.size() - 4);
  for (size_t place = 0; place < body.size(); ++place) {
    for (const unsigned char wrong : {0x01, 0x80, 0xff}) {
      std::string other = body;
      other[place] = static_cast<char>(other[place] ^ wrong);
      ByteWriter checksum;
      checksum.Uint32(Crc32c(other));
      const auto loaded = Session::Load(other + checksum.bytes(), kNow);
      if (loaded.ok()) (*loaded)->Save();
    }
  }
}

TEST(SavedSearchSessionTest, AnotherHistoryIsTheLoadedSessions) {
  const auto loaded = Session::Load(Busy()->Save(), kNow, /*history=*/5);
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ((*loaded)->history(), 5u);
  EXPECT_EQ(AskFor(**loaded, "a", 1).lease->first_pair, 1u);
}

}  // namespace
}  // namespace talweg::core::search_session
