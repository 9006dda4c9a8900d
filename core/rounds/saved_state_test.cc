// SPDX-License-Identifier: Apache-2.0
//
// A machine that stops and goes on: what is kept, what is forgotten, and what corrupt bytes do.
#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

TEST(SavedStateTest, AnswersAsTheSavedOne) {
  AggregationConfig aggregation;
  aggregation.max_staleness = 2;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b", "c"});
  Contribution applied = fleet.Gradient("a");
  applied.loss = 0.25;
  fleet.Send(applied);
  for (int time = 0; time < 3; ++time) fleet.Contribute("c");
  Contribution stale = fleet.Gradient("b");
  stale.base_version = 0;
  EXPECT_EQ(fleet.Told(fleet.Send(stale)), "TOO_STALE 4");
  const StepReport report = *fleet.machine.last_step();
  const std::string before = fleet.Bytes();
  fleet.Restart();
  EXPECT_TRUE(fleet.Bytes() == before);
  EXPECT_EQ(fleet.machine.history(), kHistory);
  EXPECT_EQ(fleet.machine.version(), 4u);
  EXPECT_EQ(fleet.machine.num_workers(), 3u);
  ASSERT_NE(fleet.machine.last_step(), nullptr);
  EXPECT_EQ(fleet.machine.last_step()->learning_rate, report.learning_rate);
  const uint64_t again = fleet.Send(applied);
  EXPECT_EQ(fleet.Told(again), "again APPLIED 1");
  EXPECT_EQ(fleet.answers[again].report->loss, 0.25);
  EXPECT_EQ(fleet.answers[again].report->gradient_norm, 3);
  EXPECT_EQ(fleet.answers[again].report->clip_factor, 0.5);
  EXPECT_EQ(fleet.answers[again].report->update_norm, 0.125);
  EXPECT_EQ(fleet.answers[again].report->contributors, 1u);
  EXPECT_EQ(fleet.answers[again].report->total_weight, 1);
  EXPECT_EQ(fleet.Told(fleet.Send(stale)), "again TOO_STALE 4");
  stale.digest ^= 1;
  EXPECT_EQ(fleet.Told(fleet.Send(stale)), "SEQUENCE_REUSED");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 5");
}

TEST(SavedStateTest, KeepsWhoWasLate) {
  AggregationConfig aggregation = Synchronous(CloseRule::kCount);
  aggregation.close_count = 1;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b", "c"});
  const Contribution contribution = fleet.Gradient("b");
  fleet.Send(contribution);
  fleet.Restart();
  const uint64_t again = fleet.Send(contribution);
  EXPECT_EQ(fleet.answers[again].report->num_late, 2u);
  EXPECT_EQ(fleet.answers[again].report->late_workers, (std::vector<std::string>{"a", "c"}));
}

TEST(SavedStateTest, FencingAndRolesAreKept) {
  Fleet fleet{AggregationConfig{}};
  fleet.JoinAll({"a"});
  const Contribution old = fleet.Gradient("a");
  fleet.JoinAll({"a"});
  EXPECT_TRUE(fleet.Join("reader", /*gradient=*/false).ok());
  fleet.Restart();
  EXPECT_EQ(fleet.Told(fleet.Send(old)), "INCARNATION_FENCED");
  EXPECT_EQ(fleet.Told(fleet.Contribute("reader")), "ROLE_MISSING");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 1");
}

TEST(SavedStateTest, WhatWasPendingIsForgottenAndMayBeSentAgain) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const Contribution contribution = fleet.Gradient("a");
  const std::string before = fleet.Bytes();
  fleet.Send(contribution);
  EXPECT_TRUE(fleet.Bytes() == before);  // a pending entry is no acknowledgement
  fleet.Restart();
  EXPECT_EQ(fleet.machine.num_folded(), 0u);
  EXPECT_EQ(fleet.num_waiting(), 0u);
  const uint64_t again = fleet.Send(contribution);
  EXPECT_TRUE(fleet.last.fold);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(again), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
}

TEST(SavedStateTest, AForgottenOneMayComeWithAnotherPayload) {
  Fleet fleet(Accumulating(2));
  fleet.JoinAll({"a"});
  Contribution contribution = fleet.Gradient("a");
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "PENDING 1");
  fleet.Restart();
  contribution.digest ^= 1;
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "PENDING 1");
  EXPECT_EQ(fleet.machine.num_folded(), 1u);
}

TEST(SavedStateTest, AVerdictIsKeptEvenIfALaterSequenceWasPending) {
  Fleet fleet(Accumulating(2));
  fleet.JoinAll({"a"});
  fleet.Contribute("a");
  const Contribution second = fleet.Gradient("a");
  EXPECT_EQ(fleet.Told(fleet.Send(second)), "APPLIED 1");
  fleet.Contribute("a");
  fleet.Restart();
  EXPECT_EQ(fleet.Told(fleet.Send(second)), "again APPLIED 1");
}

TEST(SavedStateTest, WhoLeftWithItsContributionInTheOpenRoundIsNotSaved) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  EXPECT_TRUE(fleet.Leave("a").ok());
  fleet.Restart();
  EXPECT_EQ(fleet.machine.num_workers(), 1u);
  EXPECT_EQ(ReasonName(fleet.Heartbeat("a")), "WORKER_NOT_JOINED");
}

TEST(SavedStateTest, AfterARestartEveryLeaseStartsAnew) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.PassWithHeartbeatsOf({"a"}, absl::Minutes(1));
  EXPECT_EQ(fleet.machine.num_live_workers(), 1u);
  fleet.now += absl::Hours(5);  // it was down
  fleet.Restart();
  EXPECT_EQ(fleet.machine.num_live_workers(), 2u);
  fleet.Pass(absl::Seconds(29));
  EXPECT_EQ(fleet.machine.num_live_workers(), 2u);
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.machine.num_live_workers(), 0u);
}

TEST(SavedStateTest, ANewHistoryIsToldToWhoComesWithTheOld) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a"});
  fleet.Contribute("a");
  fleet.Restart(/*history=*/1234);
  EXPECT_EQ(fleet.machine.history(), 1234u);
  EXPECT_EQ(fleet.machine.version(), 1u);
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "HISTORY_CHANGED");
  EXPECT_EQ(ReasonName(fleet.Heartbeat("a")), "HISTORY_CHANGED");
  Contribution contribution = fleet.Gradient("a");
  contribution.history = 1234;
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "APPLIED 2");
}

TEST(SavedStateTest, ClocksAreKept) {
  Fleet fleet(BoundedStaleness(2));
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.Contribute("a");
  fleet.Restart();
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "waits");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.num_waiting(), 0u);
}

TEST(SavedStateTest, AHeldAnswerIsStillHeld) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b"});
  const Contribution contribution = fleet.Gradient("a");
  fleet.Send(contribution);
  fleet.Restart();
  const uint64_t again = fleet.Send(contribution);
  EXPECT_EQ(fleet.Told(again), "waits");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(again), "again APPLIED 1");
}

TEST(SavedStateTest, WhoDidNotCountDoesNotHoldUpTheOthersAfterARestart) {
  for (const bool stalled : {false, true}) {
    AggregationConfig aggregation = BoundedStaleness(0);
    aggregation.progress_seconds = stalled ? 10 : 0;
    Fleet fleet(aggregation);
    fleet.JoinAll({"a", "b", "c"});
    for (int second = 0; second < 40; ++second) {
      fleet.Pass(absl::Seconds(1));
      if (stalled) {
        EXPECT_TRUE(fleet.Heartbeat("c").ok());
      }
      fleet.Contribute("a");
      fleet.Contribute("b");
    }
    ASSERT_EQ(fleet.num_waiting(), 0u);
    fleet.Restart();
    EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "waits");  // for b alone
    fleet.Contribute("b");
    EXPECT_EQ(fleet.num_waiting(), 0u);
  }
}

TEST(SavedStateTest, ALoweredBoundHoldsNobodyWhoseAnswerWasGiven) {
  Fleet fleet(BoundedStaleness(3));
  fleet.JoinAll({"a", "b"});
  for (int round = 0; round < 3; ++round) fleet.Contribute("a");
  fleet.Configure(BoundedStaleness(0));
  fleet.Restart();
  const uint64_t a = fleet.Contribute("a");  // which it was let go for
  EXPECT_EQ(fleet.Told(a), "waits");
  for (int round = 0; round < 4; ++round) fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "APPLIED 4");
}

TEST(SavedStateTest, WhoComesToASleepingFleetStartsWhereItStopped) {
  Fleet fleet(BoundedStaleness(2));
  fleet.JoinAll({"a"});
  for (int round = 0; round < 100; ++round) fleet.Contribute("a");
  fleet.Pass(absl::Minutes(1));
  fleet.Restart();
  fleet.JoinAll({"b"});
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 101");
}

TEST(SavedStateTest, TheSameEventsGiveTheSameBytes) {
  const auto run = [] {
    AggregationConfig aggregation = Synchronous(CloseRule::kCount);
    aggregation.close_count = 20;
    Fleet fleet(aggregation);
    for (int number = 0; number < 60; ++number) {
      EXPECT_TRUE(fleet.Join(absl::StrCat("worker ", number)).ok());
    }
    for (int number = 0; number < 20; ++number) fleet.Contribute(absl::StrCat("worker ", number));
    return fleet.Bytes();
  };
  const std::string bytes = run();
  for (int time = 0; time < 5; ++time) EXPECT_TRUE(run() == bytes);
}

TEST(SavedStateTest, BytesDoNotDependOnTheOrderInWhichWorkersCame) {
  const auto run = [](const std::vector<std::string>& order) {
    RoundMachine machine(kHistory, {RateOf(0.5), AggregationConfig{}});
    for (const std::string& worker : order) {
      machine.Handle(Join{worker, static_cast<uint64_t>(worker[0])}, absl::UnixEpoch());
    }
    ByteWriter writer;
    machine.Save(writer);
    return writer.bytes();
  };
  EXPECT_TRUE(run({"a", "b", "c"}) == run({"c", "a", "b"}));
}

// --- Formats.

std::string BytesOf(const RoundMachine& machine, uint32_t format) {
  ByteWriter writer;
  machine.Save(writer, format);
  return writer.bytes();
}

absl::Status LoadFormat(RoundMachine& machine, absl::string_view bytes, uint32_t format) {
  ByteReader reader(bytes);
  const absl::Status status = machine.Load(reader, absl::UnixEpoch(), 0, format);
  return status.ok() ? reader.End() : status;
}

// Workers of every set of roles, of which format 3 knows two.
RoundMachine MachineOfAllRoles() {
  RoundMachine machine(kHistory, {RateOf(0.5), BoundedStaleness(0)});
  for (uint8_t bits = 0; bits < 8; ++bits) {
    machine.Handle(Join{absl::StrCat("worker ", bits), bits + uint64_t{1}, Roles::FromBits(bits)},
                   absl::UnixEpoch());
  }
  return machine;
}

TEST(SavedStateTest, EverySetOfRolesIsKept) {
  const std::string bytes = BytesOf(MachineOfAllRoles(), 4);
  RoundMachine machine(kHistory, {RateOf(0.5), BoundedStaleness(0)});
  ASSERT_TRUE(LoadFormat(machine, bytes, 4).ok());
  EXPECT_TRUE(machine.Audit().ok()) << machine.Audit();
  EXPECT_TRUE(BytesOf(machine, 4) == bytes);
}

TEST(SavedStateTest, AnOlderFormatTellsWhoContributesGradients) {
  const std::string bytes = BytesOf(MachineOfAllRoles(), 3);
  RoundMachine machine(kHistory, {RateOf(0.5), BoundedStaleness(0)});
  ASSERT_TRUE(LoadFormat(machine, bytes, 3).ok());
  EXPECT_TRUE(machine.Audit().ok()) << machine.Audit();
  EXPECT_TRUE(BytesOf(machine, 3) == bytes);
  for (uint8_t bits = 0; bits < 8; ++bits) {
    Contribution contribution;
    contribution.history = kHistory;
    contribution.worker = absl::StrCat("worker ", bits);
    contribution.incarnation = bits + uint64_t{1};
    contribution.sequence = 1;
    contribution.base_version = 99;
    EXPECT_EQ(ReasonName(machine.Handle(contribution, absl::UnixEpoch()).status),
              bits % 2 == 1 ? "VERSION_AHEAD" : "ROLE_MISSING");
  }
}

TEST(SavedStateTest, NoncesAreSavedAndTakeNoBytesIfThereAreNone) {
  RoundMachine machine(kHistory, {RateOf(0.5), AggregationConfig{}});
  machine.Handle(Join{"a", 1}, absl::UnixEpoch());
  const std::string without = BytesOf(machine, 4);
  machine.Handle(Join{"a", 2, {Role::kGradient}, 20}, absl::UnixEpoch());
  machine.Handle(Join{"a", 3, {Role::kGradient}, 30}, absl::UnixEpoch());
  const std::string with = BytesOf(machine, 4);
  EXPECT_EQ(with.size(), without.size() + 16);
  RoundMachine loaded(kHistory, {RateOf(0.5), AggregationConfig{}});
  ASSERT_TRUE(LoadFormat(loaded, with, 4).ok());
  EXPECT_TRUE(BytesOf(loaded, 4) == with);
  const Effects repeat = loaded.Handle(Join{"a", 4, {Role::kGradient}, 30}, absl::UnixEpoch());
  EXPECT_EQ(repeat.incarnation, 3u);
  const Effects late = loaded.Handle(Join{"a", 5, {Role::kGradient}, 20}, absl::UnixEpoch());
  EXPECT_EQ(ReasonName(late.status), "INCARNATION_FENCED");
  // Format 3 knew no nonces.
  ASSERT_TRUE(LoadFormat(loaded, BytesOf(machine, 3), 3).ok());
  EXPECT_TRUE(loaded.Handle(Join{"a", 6, {Role::kGradient}, 20}, absl::UnixEpoch()).status.ok());
}

TEST(SavedStateTest, AnUnknownRoleIsCorrupt) {
  RoundMachine machine(kHistory, {RateOf(0.5), AggregationConfig{}});
  machine.Handle(Join{"worker", 0x1122334455667788}, absl::UnixEpoch());
  std::string bytes = BytesOf(machine, 4);
  const size_t incarnation = bytes.find("\x88\x77\x66\x55\x44\x33\x22\x11");
  ASSERT_NE(incarnation, std::string::npos);
  const size_t flags = incarnation + 8, roles = incarnation + 9;
  EXPECT_EQ(bytes[roles], 1);
  ASSERT_TRUE(LoadFormat(machine, bytes, 4).ok());
  bytes[roles] = 8;
  EXPECT_EQ(ReasonName(LoadFormat(machine, bytes, 4)), "STATE_CORRUPT");
  bytes[roles] = 1;
  bytes[flags] = 1;  // format 3 had the role here
  EXPECT_EQ(ReasonName(LoadFormat(machine, bytes, 4)), "STATE_CORRUPT");
}

// --- Corrupt bytes.

std::string SomeState() {
  AggregationConfig aggregation = Synchronous(CloseRule::kCount);
  aggregation.close_count = 1;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b", "c"});
  for (const char* worker : {"a", "b"}) {
    Contribution contribution = fleet.Gradient(worker);
    contribution.loss = 2;
    fleet.Send(contribution);
  }
  return fleet.Bytes();
}

absl::Status LoadInto(RoundMachine& machine, absl::string_view bytes) {
  ByteReader reader(bytes);
  const absl::Status status = machine.Load(reader, absl::UnixEpoch());
  return status.ok() ? reader.End() : status;
}

TEST(SavedStateTest, EveryCutIsCorruptAndChangesNothing) {
  const std::string bytes = SomeState();
  for (size_t size = 0; size < bytes.size(); ++size) {
    Fleet fleet(Synchronous());
    fleet.JoinAll({"x"});
    fleet.Contribute("x");
    const std::string before = fleet.Bytes();
    const absl::Status status = LoadInto(fleet.machine, bytes.substr(0, size));
    EXPECT_EQ(ReasonName(status), "STATE_CORRUPT") << size;
    EXPECT_TRUE(fleet.Bytes() == before);
  }
}

TEST(SavedStateTest, NoFlippedByteBreaksTheMachine) {
  const std::string bytes = SomeState();
  for (const AggregationConfig& aggregation : {Synchronous(), BoundedStaleness(1)}) {
    size_t refused = 0;
    for (size_t at = 0; at < bytes.size(); ++at) {
      for (const int flip : {1, 0x80, 0xff}) {
        std::string broken = bytes;
        broken[at] = static_cast<char>(broken[at] ^ flip);
        RoundMachine machine(kHistory, {RateOf(0.5), aggregation});
        if (!LoadInto(machine, broken).ok()) {
          ++refused;
          continue;
        }
        EXPECT_TRUE(machine.Audit().ok()) << at << ": " << machine.Audit();
        machine.Handle(Tick{}, absl::UnixEpoch() + absl::Hours(1));
        EXPECT_TRUE(machine.Audit().ok()) << at << ": " << machine.Audit();
      }
    }
    EXPECT_GT(refused, 20u);
  }
}

TEST(SavedStateTest, AWorkerTwiceIsCorrupt) {
  ByteWriter writer;
  RoundMachine machine(kHistory, {RateOf(0.5), AggregationConfig{}});
  machine.Handle(Join{"a", 1}, absl::UnixEpoch());
  machine.Handle(Join{"b", 2}, absl::UnixEpoch());
  machine.Save(writer);
  std::string bytes = writer.bytes();
  bytes[bytes.find('b')] = 'a';
  EXPECT_EQ(ReasonName(LoadInto(machine, bytes)), "STATE_CORRUPT");
}

TEST(SavedStateDeathTest, NothingIsSavedWhileAStepIsTaken) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a"});
  fleet.hold_steps = true;
  fleet.Contribute("a");
  EXPECT_DEATH((void)fleet.Bytes(), "broken promise");
  fleet.TakeStep();
}

}  // namespace
}  // namespace talweg::core
