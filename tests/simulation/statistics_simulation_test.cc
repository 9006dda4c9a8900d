// SPDX-License-Identifier: Apache-2.0
//
// Statistics and inverses under faults. Gradient workers and statistics workers send, lag, repeat
// themselves, die and come back; refreshes of inverses come back late, never, or after a restart;
// the session is saved and loaded in between. An oracle keeps a list of what was taken, and after
// every version holds three promises against it:
//
//   each statistics count once, and in the version that is made next
//   inverses are in use, and recorded, from the version on that their installation names
//   the records, the installations and the inputs make the same versions again, to the bit
#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/optimizers/kfac.h"
#include "core/session/pseudo_testing.h"
#include "core/session/session.h"
#include "core/session/session_testing.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr uint64_t kHistory = 7;
const absl::Time kStart = absl::UnixEpoch() + absl::Hours(1);

// A replay closes its rounds when the record says so, and never by itself.
SessionConfig Config(bool is_replay) {
  KfacConfig kfac;
  kfac.damping = 0.1;
  kfac.refresh_every = 2;
  kfac.refresh_each_until = 0;
  kfac.max_inverse_age = 7;
  const DecayKind& kind = *FindDecayKind("constant");
  AggregationConfig aggregation;
  aggregation.mode = AggregationMode::kSynchronous;
  if (is_replay) {
    aggregation.close = CloseRule::kWeight;
    aggregation.close_weight = 1e9;
    aggregation.workers_may_close = true;
  } else {
    aggregation.close = CloseRule::kCount;
    aggregation.close_count = 2;
    aggregation.too_few = TooFew::kClose;
  }
  SessionConfig config{
      std::make_shared<const Layout>(*Layout::Create({{"w1", {4, 3}}, {"b1", {4}}, {"rest", {5}}})),
      FindMethod("kfac"), std::make_shared<ConfigOf<KfacConfig>>(kfac),
      Schedule(ConfigOf<RateConfig>({.learning_rate = 0.1}), kind, kind.default_config()),
      ConfigOf<AggregationConfig>(aggregation)};
  config.layers = {{"w1", ConfigOf<LayerConfig>({.bias = "b1"})}};
  TALWEG_CHECK(config.Resolve().ok());
  return config;
}

// Who sent it, and under which number.
using Key = std::tuple<std::string, uint64_t, uint64_t>;

// What a worker sends. The seed makes the numbers.
struct Message {
  Contribution contribution;
  uint64_t seed = 0;
  uint64_t rows = 0;  // of the statistics; 0: there are none
};

ContributionInput InputOf(const Session& session, const Message& message) {
  const auto fill = [](StagedGradient& vector, std::shared_ptr<const GroupMap> map, uint64_t seed) {
    vector.Begin(std::move(map));
    const std::vector<float> values = PseudoVector(seed, vector.size());
    vector.Append({Dtype::kFloat32,
                   {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}});
  };
  ContributionInput input{message.contribution};
  if (!message.contribution.is_statistics) {
    input.gradient = std::make_shared<StagedGradient>(session.num_elements());
    fill(*input.gradient, session.config().group_map, message.seed);
  }
  if (message.rows > 0) {
    input.statistics = std::make_shared<StagedStatistics>(
        session.config().layer_table,
        StatisticsShape{
            .num_samples = message.rows, .of_mean_loss = false, .num_rows = {message.rows}});
    fill(input.statistics->sent(), input.statistics->map_of_sent(), message.seed + 1);
    Work work;
    input.statistics->AddStages(work);
    work.RunHere();
  }
  return input;
}

std::vector<float> ValuesOf(const Session& session) {
  const absl::Span<const float> span = session.parameters()->values.span();
  return {span.begin(), span.end()};
}

std::unique_ptr<Session> NewSession(bool is_replay) {
  const SessionConfig config = Config(is_replay);
  return std::make_unique<Session>(config, kHistory,
                                   std::make_shared<Parameters>(config.layout->num_elements()));
}

class World {
 public:
  World(uint64_t seed, Mutation mutation)
      : random_(seed), mutation_(mutation), session_(NewSession(false)), replay_(NewSession(true)) {
    session_->SwitchOn(mutation_);
    for (const char* name : {"g0", "g1", "g2", "s0", "s1"}) Join(name);
  }

  // What went wrong first; empty if nothing did.
  std::string Run(int num_actions) {
    for (int action = 0; action < num_actions && trouble_.empty(); ++action) Act();
    return trouble_;
  }

  uint64_t num_versions() const { return session_->version(); }
  const std::map<std::string, int>& seen() const { return seen_; }

 private:
  struct Worker {
    uint64_t incarnation = 0;
    uint64_t sequence = 0;
    std::optional<Message> last;
  };

  uint64_t Draw(uint64_t below) { return random_() % below; }

  void Act() {
    now_ += absl::Milliseconds(static_cast<int64_t>(Draw(900)));
    auto worker = workers_.begin();
    std::advance(worker, Draw(workers_.size()));
    const std::string& name = worker->first;
    switch (Draw(20)) {
      case 0:
        ++seen_["died and came back"];
        return Join(name);
      case 1:
      case 2:
      case 3:
        if (!worker->second.last.has_value()) return;
        ++seen_["repeated itself"];
        return Send(*worker->second.last);
      case 4:
        return Restart();
      case 5:
        now_ += absl::Seconds(20);  // Those that are silent expire.
        return Follow(session_->Handle(Tick{}, now_));
      case 6:
      case 7:
      case 8:
        return Install();
      case 9:
        if (refresh_ == nullptr || Draw(4) > 0) return;
        ++seen_["never came back"];  // until a restart
        refresh_is_lost_ = true;
        return;
      default:
        return SendNew(name, worker->second);
    }
  }

  void Join(const std::string& name) {
    core::Join join;
    join.worker = name;
    join.incarnation = ++last_incarnation_;
    join.roles =
        name[0] == 's' ? Roles{Role::kStatistics} : Roles{Role::kGradient, Role::kStatistics};
    workers_[name] = {last_incarnation_, 0, std::nullopt};
    Follow(session_->Handle(join, now_));
  }

  void SendNew(const std::string& name, Worker& worker) {
    Message message;
    Contribution& contribution = message.contribution;
    contribution.history = kHistory;
    contribution.worker = name;
    contribution.incarnation = worker.incarnation;
    contribution.sequence = ++worker.sequence;
    // Statistics may lag behind; gradients may not.
    contribution.base_version = session_->version();
    contribution.is_statistics = name[0] == 's' || Draw(6) == 0;
    if (contribution.is_statistics) {
      contribution.base_version -= std::min<uint64_t>(contribution.base_version, Draw(4));
    }
    contribution.may_wait = Draw(2) == 0;
    message.seed = 10 * ++last_seed_;
    message.rows = contribution.is_statistics || Draw(2) == 0 ? 1 + Draw(9) : 0;
    worker.last = message;
    Send(message);
  }

  void Send(Message message) {
    message.contribution.ticket = ++last_ticket_;
    const Key key = KeyOf(message);
    TALWEG_CHECK(PrepareWith(*session_, message).ok());
    ContributionInput input = InputOf(*session_, message);
    Outcome outcome = session_->Contribute(input, now_);
    if (!outcome.effects.status.ok()) return;
    if (outcome.effects.takes_statistics) {
      if (!due_.emplace(key, message.rows).second) return Fail("statistics were taken twice");
    }
    messages_[key] = message;
    Follow(std::move(outcome));
  }

  static Key KeyOf(const Message& message) {
    const Contribution& contribution = message.contribution;
    return {contribution.worker, contribution.incarnation, contribution.sequence};
  }

  static absl::Status PrepareWith(Session& session, const Message& message) {
    return session.Prepare(
        false,
        [&]() -> absl::StatusOr<std::shared_ptr<Parameters>> {
          return std::make_shared<Parameters>(session.num_elements());
        },
        message.rows > 0);
  }

  void Install() {
    if (refresh_ == nullptr || refresh_is_lost_) return;
    refresh_->RunHere();
    const uint64_t version = refresh_->factors_version();
    const Outcome outcome = session_->Install(*refresh_, now_);
    refresh_.reset();
    const bool is_too_late = outcome.effects.durable.empty();
    ++seen_[is_too_late ? "came too late" : "was installed"];
    events_.push_back({session_->version(), is_too_late ? Event::kTooLate : Event::kInstalled});
    for (const DurableChange& change : outcome.effects.durable) {
      const auto* installed = std::get_if<InversesInstalled>(&change);
      if (installed == nullptr) continue;
      installed_ = version;
      if (installed->factors_version != version || installed->version != session_->version() + 1) {
        Fail("an installation names another version than the next");
      }
    }
  }

  // Everything that is pending is forgotten, and a refresh under way never comes back.
  void Restart() {
    ++seen_["restarted"];
    const std::string saved = session_->Save();
    auto loaded = Session::Load(saved, now_);
    if (!loaded.ok()) return Fail(loaded.status().ToString());
    session_ = *std::move(loaded);
    session_->SwitchOn(mutation_);
    refresh_.reset();
    refresh_is_lost_ = false;
    due_.clear();
    events_.push_back({session_->version(), Event::kRestarted});
    // What was installed is in the saved state, and no record names it.
    installed_ = 0;
    // What was pending may be sent again, but not under a number that a later one has overtaken.
    for (auto& [name, worker] : workers_) worker.last.reset();
    Replay();
  }

  void Follow(Outcome outcome) {
    if (outcome.work == nullptr) return;
    outcome.work->RunHere();
    Ended ended = session_->End(*outcome.work, now_);
    if (ended.refresh != nullptr) {
      refresh_ = std::move(ended.refresh);
      refresh_is_lost_ = false;
    }
    if (ended.effects.made != nullptr) Check(*ended.effects.made);
  }

  void Check(const VersionRecord& record) {
    std::map<Key, uint64_t> counted;
    uint64_t samples = 0;
    for (const StatisticsMember& member : record.statistics) {
      samples += member.num_samples;
      const Key key = {member.worker, member.incarnation, member.sequence};
      if (!counted.emplace(key, member.num_samples).second) return Fail("statistics count twice");
    }
    if (counted != due_) return Fail("a version has other statistics than came for it");
    const CurvatureNumbers& told = *session_->last_step()->curvature;
    if (told.num_samples != static_cast<double>(samples))
      return Fail("samples are counted wrongly");
    if (record.installed_inverses != installed_) return Fail("a record lacks an installation");
    if (told.inverse_version != record.inverse_version) return Fail("another version of inverses");
    if (installed_ > 0) ++seen_["version with installed inverses"];
    due_.clear();
    installed_ = 0;
    log_.push_back(record);
    Replay();
    if (trouble_.empty() && ValuesOf(*replay_) != ValuesOf(*session_)) {
      Fail("a replay makes other parameters");
    }
  }

  // Makes the versions that are new again, in a session that knows the records and the messages
  // alone.
  void Replay() {
    for (; num_replayed_ < log_.size(); ++num_replayed_) {
      const VersionRecord& record = log_[num_replayed_];
      ReplayEvents(record.version - 1);
      // In another order than that of their arrival, and statistics first.
      for (auto member = record.statistics.rbegin(); member != record.statistics.rend(); ++member) {
        const Message& message = messages_[{member->worker, member->incarnation, member->sequence}];
        if (message.contribution.is_statistics) ReplayOne(message, /*closes_round=*/false);
      }
      for (size_t left = record.members.size(); left > 0; --left) {
        const RoundMember& member = record.members[left - 1];
        ReplayOne(messages_[{member.worker, member.incarnation, member.sequence}],
                  /*closes_round=*/left == 1);
      }
      if (replay_->version() != record.version) return Fail("a replay makes another version");
    }
    ReplayEvents(log_.size());
  }

  // What happened between two versions.
  void ReplayEvents(uint64_t version) {
    for (; num_events_ < events_.size() && events_[num_events_].version == version; ++num_events_) {
      if (events_[num_events_].kind == Event::kRestarted) {
        replay_ = *Session::Load(replay_->Save(), kStart);
      } else {
        if (replay_refresh_ == nullptr) return Fail("a replay has no such refresh");
        replay_refresh_->RunHere();
        replay_->Install(*replay_refresh_, kStart);
      }
      replay_refresh_.reset();
    }
  }

  // Under a worker's name of the replay's own: who may contribute was decided already.
  void ReplayOne(Message message, bool closes_round) {
    core::Join join;
    join.worker = message.contribution.worker;
    join.incarnation = ++replay_incarnation_;
    join.roles = {Role::kGradient, Role::kStatistics};
    TALWEG_CHECK(replay_->Handle(join, kStart).effects.status.ok());
    message.contribution.incarnation = join.incarnation;
    message.contribution.sequence = 1;
    message.contribution.base_version = replay_->version();
    message.contribution.may_wait = false;
    message.contribution.ticket = ++last_ticket_;
    message.contribution.closes_round = closes_round;
    TALWEG_CHECK(PrepareWith(*replay_, message).ok());
    ContributionInput input = InputOf(*replay_, message);
    Outcome outcome = replay_->Contribute(input, kStart);
    if (!outcome.effects.status.ok()) return Fail(outcome.effects.status.ToString());
    if (outcome.work == nullptr) return;
    outcome.work->RunHere();
    Ended ended = replay_->End(*outcome.work, kStart);
    if (ended.refresh != nullptr) replay_refresh_ = std::move(ended.refresh);
  }

  void Fail(const std::string& what) {
    if (trouble_.empty()) trouble_ = absl::StrCat(what, " at version ", session_->version());
  }

  std::mt19937_64 random_;
  const Mutation mutation_;
  absl::Time now_ = kStart;
  std::unique_ptr<Session> session_;
  std::map<std::string, Worker> workers_;
  uint64_t last_incarnation_ = 0;
  uint64_t last_ticket_ = 0;
  uint64_t last_seed_ = 0;
  std::map<Key, Message> messages_;  // that were judged
  std::unique_ptr<InverseRefresh> refresh_;
  bool refresh_is_lost_ = false;
  std::string trouble_;
  std::map<std::string, int> seen_;

  // The oracle: what must be in the next version.
  std::map<Key, uint64_t> due_;
  uint64_t installed_ = 0;

  // The replay.
  struct Event {
    uint64_t version;
    enum Kind { kInstalled, kTooLate, kRestarted } kind;
  };
  std::vector<VersionRecord> log_;
  std::vector<Event> events_;
  size_t num_replayed_ = 0;
  size_t num_events_ = 0;
  std::unique_ptr<Session> replay_;
  std::unique_ptr<InverseRefresh> replay_refresh_;
  uint64_t replay_incarnation_ = 0;
};

constexpr int kWorlds = 200;
constexpr int kActions = 400;

TEST(StatisticsSimulationTest, NoPromiseIsBroken) {
  uint64_t num_versions = 0;
  std::map<std::string, int> seen;
  for (int seed = 1; seed <= kWorlds; ++seed) {
    World world(seed, Mutation::kNone);
    ASSERT_EQ(world.Run(kActions), "") << "seed " << seed;
    num_versions += world.num_versions();
    for (const auto& [what, count] : world.seen()) seen[what] += count;
  }
  EXPECT_GT(num_versions, 7000u);
  for (const char* what : {"died and came back", "repeated itself", "restarted", "was installed",
                           "came too late", "never came back", "version with installed inverses"}) {
    EXPECT_GT(seen[what], 10) << what;
  }
}

std::string FirstTrouble(Mutation mutation) {
  for (int seed = 1; seed <= kWorlds; ++seed) {
    const std::string trouble = World(seed, mutation).Run(kActions);
    if (!trouble.empty()) return trouble;
  }
  return "";
}

TEST(StatisticsSimulationTest, StatisticsThatCountTwiceAreFound) {
  EXPECT_NE(FirstTrouble(Mutation::kCountStatisticsTwice), "");
}

TEST(StatisticsSimulationTest, InstallationForAnotherVersionIsFound) {
  EXPECT_NE(FirstTrouble(Mutation::kInstallForOtherVersion), "");
}

// The mutations of rounds break the same promises of statistics.
TEST(StatisticsSimulationTest, RepeatsThatCountAgainAreFound) {
  EXPECT_NE(FirstTrouble(Mutation::kCountDuplicate), "");
}

}  // namespace
}  // namespace talweg::core
