// SPDX-License-Identifier: Apache-2.0
//
// A search as bytes: what comes back, and that bytes which cannot be are refused.
#include <limits>
#include <vector>

#include "core/search/search_testing.h"

namespace talweg::core {
namespace {

constexpr PairStatus kFailed = PairStatus::kFailed;

// In the middle of the second generation: pairs told, dropped, failed once, leased and free.
Population InTheMiddle(const ConfigureSearch& configuration) {
  Population population(configuration);
  population.JoinAll({"a", "b"});
  population.Finish("a");
  if (configuration.search.evaluates(1)) {
    EXPECT_EQ(population.Ask("a"), "2: W");
    population.TellEvaluation("a", 0.25);
  }
  EXPECT_EQ(population.Ask("a", 5), "2: 0-4");
  const std::vector<double> losses(3 * configuration.search.losses_per_pair(), 0.5);
  EXPECT_EQ(population.Tell("a", 0, losses, {PairStatus::kOk, kFailed, PairStatus::kNonFinite}),
            "ACCEPTED 1 to retry 1 dropped 1");
  EXPECT_EQ(population.Ask("b", 1), "2: 1");
  EXPECT_EQ(
      population.Tell("b", 1, {losses.begin(), losses.begin() + losses.size() / 3}, {kFailed}),
      "ACCEPTED to retry 1");
  return population;
}

std::vector<SearchConfig> Searches() {
  SearchConfig monitored = Strategy(8);
  monitored.evaluate_every = 1;
  SearchConfig low_rank = OneSided(8, Baseline::kEvaluated);
  low_rank.perturbation = PerturbationKind::kLowRank;
  low_rank.rank = 2;
  return {Strategy(8),
          monitored,
          low_rank,
          IfBetter(8),
          ClosesBy(Strategy(8), GenerationClose::kCount, 3),
          ClosesBy(Strategy(8), GenerationClose::kDeadline, 3)};
}

void ExpectSameRecord(const GenerationRecord& a, const GenerationRecord& b) {
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.generation, b.generation);
  EXPECT_EQ(a.num_pairs, b.num_pairs);
  EXPECT_EQ(a.config_version, b.config_version);
  EXPECT_EQ(a.learning_rate, b.learning_rate);
  EXPECT_EQ(a.sigma, b.sigma);
  EXPECT_EQ(a.pairs, b.pairs);
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.evaluated, b.evaluated);
}

TEST(SavedSearchTest, ComesBackWholeInTheMiddleOfAGeneration) {
  for (const SearchConfig& search : Searches()) {
    Population saved = InTheMiddle(Configured(search));
    const std::string bytes = saved.Bytes();
    Population population = InTheMiddle(Configured(search));
    population.Restart();
    EXPECT_EQ(population.Bytes(), bytes);
    EXPECT_EQ(population.machine.history(), kHistory);
    EXPECT_EQ(population.machine.version(), 1u);
    EXPECT_EQ(population.machine.num_workers(), 2u);
    EXPECT_EQ(*population.machine.last_step()->search, *saved.machine.last_step()->search);
    const GenerationDescription open = population.Describe();
    EXPECT_EQ(open.generation, 2u);
    EXPECT_EQ(open.num_told, 1u);
    EXPECT_EQ(open.num_dropped, 1u);
    EXPECT_EQ(open.num_leased, 0u);
    EXPECT_EQ(open.num_leases, 0u);
    // What counts is what would have counted.
    for (Population* each : {&saved, &population}) {
      each->Pass(absl::Seconds(1));
      const size_t per_pair = search.losses_per_pair();
      each->Ask("b");
      each->Tell("b", 1, std::vector<double>(per_pair, 0), {kFailed});
      each->Ask("a", 2);
      each->Tell("a", 3, std::vector<double>(per_pair * 2, 1));
      each->Ask("a", 3);
      each->Tell("b", 5, std::vector<double>(per_pair * 3, 1));
      each->Pass(absl::Seconds(10));
      ASSERT_EQ(each->machine.version(), 2u);
    }
    ExpectSameRecord(*population.made.back(), *saved.made.back());
    EXPECT_EQ(population.Report().num_dropped, saved.Report().num_dropped);
    EXPECT_EQ(population.Report().num_non_finite, saved.Report().num_non_finite);
  }
}

TEST(SavedSearchTest, FailuresAreRememberedAndLeasesAreNot) {
  Population population = InTheMiddle(Configured(Strategy(8)));
  population.Restart();
  EXPECT_EQ(population.Ask("b", 9), "2: 1");
  EXPECT_EQ(population.Tell("b", 1, {0, 0}, {kFailed}), "ACCEPTED dropped 1");
  EXPECT_EQ(population.Ask("b", 9), "2: 3-7");
}

TEST(SavedSearchTest, LossesOfALeaseFromBeforeCount) {
  Population population = InTheMiddle(Configured(Strategy(8)));
  population.Restart();
  EXPECT_EQ(population.Tell("a", 3, {1, 2, 3, 4}), "ACCEPTED 2");
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "REPEATED repeated 1");
  // Even if the state does not know that anything of the generation was leased.
  Population fresh(IfBetter(2));
  fresh.JoinAll({"a"});
  fresh.Restart();
  EXPECT_EQ(fresh.TellEvaluation("a", 1), "ACCEPTED 1");
  EXPECT_EQ(fresh.Tell("a", 1, {2}), "ACCEPTED 1");
  EXPECT_EQ(fresh.Describe().open, absl::ZeroDuration());
}

TEST(SavedSearchTest, TheDeadlineBeginsAnew) {
  Population population =
      InTheMiddle(Configured(ClosesBy(Strategy(8), GenerationClose::kDeadline, 3)));
  population.Pass(absl::Seconds(2));
  population.Restart();
  EXPECT_EQ(population.machine.NextTick(), population.now + absl::Seconds(3));
  population.Pass(absl::Milliseconds(2999));
  EXPECT_EQ(population.machine.version(), 1u);
  population.Pass(absl::Milliseconds(1));
  EXPECT_EQ(population.PairsOf(2), "0");
}

TEST(SavedSearchTest, AnotherHistoryFencesWhatCameBefore) {
  Population population = InTheMiddle(Configured(Strategy(8)));
  const Tell tell = population.TellOf("a", 3, {1, 2});
  population.Restart(/*history=*/kHistory + 1);
  EXPECT_EQ(population.machine.history(), kHistory + 1);
  EXPECT_EQ(ReasonName(population.Do(tell).status), "HISTORY_CHANGED");
}

TEST(SavedSearchTest, WorkersComeBackThoughTheirPlacesBecameFewer) {
  Population population(Configured(Strategy(2)));
  population.JoinAll({"a", "b", "c"});
  population.Configure(Configured(Strategy(2), 2, 1000, /*worker_limit=*/2));
  population.Restart();
  EXPECT_EQ(population.machine.num_workers(), 3u);
  EXPECT_EQ(population.Ask("c"), "2: 0");
}

TEST(SavedSearchTest, AFinishedSearchStaysFinished) {
  SearchConfig config = Strategy(2);
  config.max_generations = 1;
  Population population(config);
  population.JoinAll({"a"});
  population.Finish("a");
  population.Restart();
  EXPECT_EQ(population.Ask("a"), "finished");
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "LATE");
}

// --- Bytes that cannot be.

absl::Status Loaded(SearchMachine& machine, const std::string& bytes) {
  ByteReader reader(bytes);
  const absl::Status status = machine.Load(reader, absl::UnixEpoch());
  return status.ok() ? reader.End() : status;
}

TEST(CorruptSearchTest, EveryPrefixIsRefusedAndChangesNothing) {
  for (const SearchConfig& search : Searches()) {
    Population population = InTheMiddle(Configured(search));
    const std::string bytes = population.Bytes();
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_EQ(ReasonName(Loaded(population.machine, bytes.substr(0, size))), "STATE_CORRUPT")
          << size;
    }
    EXPECT_EQ(ReasonName(Loaded(population.machine, bytes + '\0')), "STATE_CORRUPT");
  }
}

TEST(CorruptSearchTest, NoByteThatIsWrongBreaksTheMachine) {
  const Population population = InTheMiddle(Configured(Strategy(8)));
  const std::string bytes = population.Bytes();
  int num_refused = 0;
  for (size_t place = 0; place < bytes.size(); ++place) {
    for (const unsigned char wrong : {0x01, 0x80, 0xff}) {
      std::string other = bytes;
      other[place] = static_cast<char>(other[place] ^ wrong);
      SearchMachine machine(kHistory, Configured(Strategy(8)));
      if (!Loaded(machine, other).ok()) {
        ++num_refused;
        continue;
      }
      // It still decides, whatever it believes.
      const GenerationDescription open = machine.Describe(absl::UnixEpoch());
      EXPECT_LE(open.num_told + open.num_dropped, open.num_pairs);
      ByteWriter writer;
      machine.Save(writer);
    }
  }
  EXPECT_GT(num_refused, 0);
}

TEST(CorruptSearchTest, AGenerationOfAnotherConfigurationIsRefused) {
  const Population population = InTheMiddle(Configured(Strategy(8)));
  SearchConfig monitored = Strategy(8);
  monitored.evaluate_every = 1;
  for (const SearchConfig& other : {Strategy(7), Strategy(9), monitored, IfBetter(8)}) {
    SearchMachine machine(kHistory, Configured(other));
    EXPECT_EQ(ReasonName(Loaded(machine, population.Bytes())), "STATE_CORRUPT");
  }
}

}  // namespace
}  // namespace talweg::core
