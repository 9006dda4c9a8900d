// SPDX-License-Identifier: Apache-2.0
#include "core/session/session_machine.h"

#include <memory>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

using testing::Contains;
using testing::Pair;

constexpr uint64_t kHistory = 77;

Schedule RateOf(double learning_rate) {
  RateConfig rate;
  rate.learning_rate = learning_rate;
  const DecayKind& kind = *FindDecayKind("inverse_sqrt");
  return Schedule(ConfigOf<RateConfig>(rate), kind, kind.default_config());
}

class SessionMachineTest : public testing::Test {
 protected:
  static SessionMachine Make(uint64_t max_staleness = 0, uint64_t accumulation_steps = 1) {
    AggregationConfig aggregation;
    aggregation.max_staleness = max_staleness;
    aggregation.gradient_accumulation_steps = accumulation_steps;
    aggregation.lease_seconds = 10;
    return SessionMachine(kHistory, RateOf(0.5), aggregation);
  }

  // A contribution of worker "a" as incarnation 1.
  static Contribution Gradient(uint64_t sequence, uint64_t base_version, uint32_t digest = 1) {
    Contribution contribution;
    contribution.history = kHistory;
    contribution.worker = "a";
    contribution.incarnation = 1;
    contribution.sequence = sequence;
    contribution.base_version = base_version;
    contribution.finite = true;
    contribution.digest = digest;
    contribution.loss = 0.25;
    return contribution;
  }

  Effects Handle(SessionMachine& machine, const Event& event) {
    return machine.Handle(event, now_);
  }

  // Contributes and takes the step that was ordered.
  Answer Apply(SessionMachine& machine, const Contribution& contribution) {
    const Effects ordered = Handle(machine, contribution);
    EXPECT_TRUE(ordered.status.ok()) << ordered.status;
    EXPECT_TRUE(ordered.step.has_value());
    EXPECT_FALSE(ordered.answer.has_value());
    const Effects taken = Handle(machine, StepTaken{3, 1, 0.125});
    EXPECT_TRUE(taken.answer.has_value());
    return *taken.answer;
  }

  // Contributes what does not close its round.
  Answer Fold(SessionMachine& machine, const Contribution& contribution) {
    const Effects effects = Handle(machine, contribution);
    EXPECT_TRUE(effects.status.ok()) << effects.status;
    EXPECT_TRUE(effects.fold);
    EXPECT_FALSE(effects.step.has_value());
    EXPECT_TRUE(effects.answer.has_value());
    EXPECT_EQ(effects.answer->verdict, Verdict::kPending);
    EXPECT_FALSE(effects.answer->report.has_value());
    return *effects.answer;
  }

  // What a repeat of `contribution`, which orders nothing, is told.
  Answer Repeat(SessionMachine& machine, const Contribution& contribution) {
    const std::string before = Bytes(machine);
    const Effects effects = Handle(machine, contribution);
    EXPECT_TRUE(effects.status.ok()) << effects.status;
    EXPECT_FALSE(effects.fold);
    EXPECT_FALSE(effects.step.has_value());
    EXPECT_TRUE(effects.answer.has_value() && effects.answer->replayed);
    EXPECT_EQ(Bytes(machine), before);
    return *effects.answer;
  }

  // The same of worker "b" as incarnation 2.
  static Contribution OfB(Contribution contribution) {
    contribution.worker = "b";
    contribution.incarnation = 2;
    return contribution;
  }

  static Configure Accumulating(uint64_t steps) {
    AggregationConfig aggregation;
    aggregation.gradient_accumulation_steps = steps;
    return {RateOf(0.5), aggregation};
  }

  static std::string Bytes(const SessionMachine& machine) {
    ByteWriter writer;
    machine.Save(writer);
    return writer.bytes();
  }

  // Expects an error of `reason` that changes nothing.
  void ExpectError(SessionMachine& machine, const Event& event, absl::string_view reason,
                   absl::string_view field = "") {
    const std::string before = Bytes(machine);
    const Effects effects = Handle(machine, event);
    EXPECT_EQ(ReasonName(effects.status), reason) << effects.status;
    EXPECT_EQ(FieldName(effects.status), field);
    EXPECT_FALSE(effects.answer.has_value());
    EXPECT_FALSE(effects.step.has_value());
    EXPECT_EQ(Bytes(machine), before);
  }

  absl::Time now_ = absl::UnixEpoch() + absl::Hours(1);
};

TEST_F(SessionMachineTest, AppliedStepMakesTheNextVersion) {
  SessionMachine machine = Make();
  ASSERT_TRUE(Handle(machine, Join{"a", 1}).status.ok());
  const Effects ordered = Handle(machine, Gradient(1, 0));
  ASSERT_TRUE(ordered.step.has_value());
  EXPECT_EQ(ordered.step->number, 1u);
  EXPECT_EQ(ordered.step->learning_rate, 0.5);
  EXPECT_EQ(machine.version(), 0u);  // not visible before it is taken
  const Effects taken = Handle(machine, StepTaken{3, 1, 0.125});
  ASSERT_TRUE(taken.answer.has_value());
  EXPECT_EQ(machine.version(), 1u);
  EXPECT_EQ(taken.answer->verdict, Verdict::kApplied);
  EXPECT_FALSE(taken.answer->replayed);
  EXPECT_EQ(taken.answer->applied_version, 1u);
  ASSERT_TRUE(taken.answer->report.has_value());
  EXPECT_EQ(taken.answer->report->gradient_norm, 3);
  EXPECT_EQ(taken.answer->report->update_norm, 0.125);
  EXPECT_EQ(taken.answer->report->staleness, 0u);
  EXPECT_EQ(taken.answer->report->contributors, 1u);
  EXPECT_EQ(taken.answer->report->loss, 0.25);
  ASSERT_TRUE(machine.last_step().has_value());
  EXPECT_EQ(machine.last_step()->update_norm, 0.125);
}

TEST_F(SessionMachineTest, ScheduleCountsVersionsNotContributions) {
  SessionMachine machine = Make();
  Handle(machine, Join{"a", 1});
  Apply(machine, Gradient(1, 0));
  Contribution bad = Gradient(2, 1);
  bad.finite = false;
  Handle(machine, bad);
  for (uint64_t version = 1; version < 4; ++version) Apply(machine, Gradient(2 + version, version));
  // Step 4 at 0.5 / sqrt(4).
  EXPECT_EQ(machine.last_step()->learning_rate, 0.25);
}

TEST_F(SessionMachineTest, RepeatGetsTheSameAnswerAndTakesNoStep) {
  SessionMachine machine = Make();
  Handle(machine, Join{"a", 1});
  const Answer first = Apply(machine, Gradient(1, 0));
  const std::string before = Bytes(machine);
  const Effects repeat = Handle(machine, Gradient(1, 0));
  ASSERT_TRUE(repeat.status.ok());
  EXPECT_FALSE(repeat.step.has_value());
  ASSERT_TRUE(repeat.answer.has_value());
  EXPECT_TRUE(repeat.answer->replayed);
  EXPECT_EQ(repeat.answer->verdict, first.verdict);
  EXPECT_EQ(repeat.answer->applied_version, first.applied_version);
  EXPECT_EQ(repeat.answer->report->update_norm, first.report->update_norm);
  EXPECT_EQ(Bytes(machine), before);
}

TEST_F(SessionMachineTest, RepeatWithAnotherPayloadIsRefused) {
  SessionMachine machine = Make();
  Handle(machine, Join{"a", 1});
  Apply(machine, Gradient(1, 0, /*digest=*/1));
  ExpectError(machine, Gradient(1, 0, /*digest=*/2), "SEQUENCE_REUSED", "header.sequence");
}

TEST_F(SessionMachineTest, OlderSequenceIsRefused) {
  SessionMachine machine = Make();
  Handle(machine, Join{"a", 1});
  Apply(machine, Gradient(5, 0));
  ExpectError(machine, Gradient(4, 1), "SEQUENCE_TOO_OLD", "header.sequence");
}

TEST_F(SessionMachineTest, GapsInSequencesAreAllowed) {
  SessionMachine machine = Make();
  Handle(machine, Join{"a", 1});
  Apply(machine, Gradient(1, 0));
  EXPECT_EQ(Apply(machine, Gradient(1000000, 1)).applied_version, 2u);
}

TEST_F(SessionMachineTest, NonFiniteConsumesTheSequenceAndNothingElse) {
  SessionMachine machine = Make();
  Handle(machine, Join{"a", 1});
  Apply(machine, Gradient(1, 0));
  Contribution bad = Gradient(2, 1);
  bad.finite = false;
  const Effects refused = Handle(machine, bad);
  ASSERT_TRUE(refused.answer.has_value());
  EXPECT_EQ(refused.answer->verdict, Verdict::kRejectedNonFinite);
  EXPECT_EQ(refused.answer->applied_version, 1u);
  EXPECT_FALSE(refused.answer->report.has_value());
  EXPECT_FALSE(refused.step.has_value());
  EXPECT_EQ(machine.version(), 1u);
  // Repeated, it is the same refusal; the sequence cannot be used for anything else.
  const Effects repeat = Handle(machine, bad);
  ASSERT_TRUE(repeat.answer.has_value());
  EXPECT_TRUE(repeat.answer->replayed);
  EXPECT_EQ(repeat.answer->verdict, Verdict::kRejectedNonFinite);
  ExpectError(machine, Gradient(2, 1, /*digest=*/9), "SEQUENCE_REUSED", "header.sequence");
  EXPECT_EQ(Apply(machine, Gradient(3, 1)).applied_version, 2u);
}

TEST_F(SessionMachineTest, LateContributionIsRoundClosedWithoutStaleness) {
  SessionMachine machine = Make(/*max_staleness=*/0);
  Handle(machine, Join{"a", 1});
  Apply(machine, Gradient(1, 0));
  const Effects late = Handle(machine, Gradient(2, 0));
  ASSERT_TRUE(late.answer.has_value());
  EXPECT_EQ(late.answer->verdict, Verdict::kRoundClosed);
  EXPECT_EQ(machine.version(), 1u);
}

TEST_F(SessionMachineTest, StalenessIsAllowedUpToTheBound) {
  SessionMachine machine = Make(/*max_staleness=*/2);
  Handle(machine, Join{"a", 1});
  Apply(machine, Gradient(1, 0));
  Apply(machine, Gradient(2, 1));
  EXPECT_EQ(Apply(machine, Gradient(3, 0)).report->staleness, 2u);
  const Effects late = Handle(machine, Gradient(4, 0));
  ASSERT_TRUE(late.answer.has_value());
  EXPECT_EQ(late.answer->verdict, Verdict::kTooStale);
  EXPECT_EQ(machine.version(), 3u);
}

TEST_F(SessionMachineTest, VersionFromTheFutureIsAnError) {
  SessionMachine machine = Make();
  Handle(machine, Join{"a", 1});
  ExpectError(machine, Gradient(1, 1), "VERSION_AHEAD", "header.base_version");
  // The error consumed no sequence.
  EXPECT_EQ(Apply(machine, Gradient(1, 0)).applied_version, 1u);
}

TEST_F(SessionMachineTest, OtherHistoryIsToldWhereToGoOn) {
  SessionMachine machine = Make();
  Handle(machine, Join{"a", 1});
  Apply(machine, Gradient(1, 0));
  Contribution lost = Gradient(2, 1);
  lost.history = kHistory + 1;
  ExpectError(machine, lost, "HISTORY_CHANGED");
  const absl::Status status = Handle(machine, lost).status;
  EXPECT_THAT(MetadataOf(status), Contains(Pair("history", "77")));
  EXPECT_THAT(MetadataOf(status), Contains(Pair("version", "1")));
  ExpectError(machine, Heartbeat{kHistory + 1, "a", 1}, "HISTORY_CHANGED");
  ExpectError(machine, Leave{kHistory + 1, "a", 1}, "HISTORY_CHANGED");
}

TEST_F(SessionMachineTest, NewerIncarnationFencesTheOlder) {
  SessionMachine machine = Make();
  Handle(machine, Join{"a", 1});
  Apply(machine, Gradient(1, 0));
  ASSERT_TRUE(Handle(machine, Join{"a", 4}).status.ok());
  ExpectError(machine, Gradient(2, 1), "INCARNATION_FENCED");
  // Also the repeat of what it did: the successor has its own sequences.
  ExpectError(machine, Gradient(1, 0), "INCARNATION_FENCED");
  ExpectError(machine, Heartbeat{kHistory, "a", 1}, "INCARNATION_FENCED");
  Contribution successor = Gradient(1, 1);
  successor.incarnation = 4;
  EXPECT_EQ(Apply(machine, successor).applied_version, 2u);
}

TEST_F(SessionMachineTest, StrangersMustJoin) {
  SessionMachine machine = Make();
  ExpectError(machine, Gradient(1, 0), "WORKER_NOT_JOINED");
  Handle(machine, Join{"a", 1});
  Contribution unissued = Gradient(1, 0);
  unissued.incarnation = 2;
  ExpectError(machine, unissued, "WORKER_NOT_JOINED");
  ASSERT_TRUE(Handle(machine, Leave{kHistory, "a", 1}).status.ok());
  ExpectError(machine, Gradient(1, 0), "WORKER_NOT_JOINED");
  ExpectError(machine, Leave{kHistory, "a", 1}, "WORKER_NOT_JOINED");
}

TEST_F(SessionMachineTest, WorkersHaveSequencesOfTheirOwn) {
  SessionMachine machine = Make();
  Handle(machine, Join{"a", 1});
  Handle(machine, Join{"b", 2});
  Apply(machine, Gradient(7, 0));
  Contribution other = Gradient(1, 1);
  other.worker = "b";
  other.incarnation = 2;
  EXPECT_EQ(Apply(machine, other).applied_version, 2u);
  EXPECT_TRUE(Handle(machine, Gradient(7, 0)).answer->replayed);
}

TEST_F(SessionMachineTest, LeaseRunsFromTheLastSignOfLife) {
  SessionMachine machine = Make();
  Handle(machine, Join{"a", 1});
  Handle(machine, Join{"b", 2});
  EXPECT_EQ(machine.NumLiveWorkers(now_), 2u);
  now_ += absl::Seconds(9);
  ASSERT_TRUE(Handle(machine, Heartbeat{kHistory, "b", 2}).status.ok());
  now_ += absl::Seconds(1);
  EXPECT_EQ(machine.NumLiveWorkers(now_), 1u);
  EXPECT_EQ(machine.num_workers(), 2u);
  // An expired worker is not fenced: it goes on, and lives again.
  Apply(machine, Gradient(1, 0));
  EXPECT_EQ(machine.NumLiveWorkers(now_), 2u);
}

TEST_F(SessionMachineTest, WorkersAreBounded) {
  SessionMachine machine = Make();
  uint64_t incarnation = 0;
  for (size_t index = 0; index < SessionMachine::kMaxWorkers; ++index) {
    ASSERT_TRUE(Handle(machine, Join{std::to_string(index), ++incarnation}).status.ok());
  }
  ExpectError(machine, Join{"one more", ++incarnation}, "TOO_MANY_WORKERS");
  EXPECT_TRUE(Handle(machine, Join{"0", ++incarnation}).status.ok());
  // Once a lease has ended its worker makes room; those that live stay.
  now_ += absl::Seconds(5);
  ASSERT_TRUE(Handle(machine, Join{"0", ++incarnation}).status.ok());
  now_ += absl::Seconds(6);
  EXPECT_TRUE(Handle(machine, Join{"one more", ++incarnation}).status.ok());
  EXPECT_EQ(machine.num_workers(), SessionMachine::kMaxWorkers);
  EXPECT_EQ(machine.NumLiveWorkers(now_), 2u);
}

TEST_F(SessionMachineTest, ChangedRateHoldsFromTheNextVersion) {
  SessionMachine machine = Make();
  Handle(machine, Join{"a", 1});
  AggregationConfig aggregation;
  Handle(machine, Configure{RateOf(4), aggregation});
  EXPECT_EQ(Apply(machine, Gradient(1, 0)).report->learning_rate, 4);
}

TEST_F(SessionMachineTest, LoadedMachineAnswersAsTheSavedOne) {
  SessionMachine machine = Make();
  Handle(machine, Join{"a", 1});
  Handle(machine, Join{"b", 2});
  Apply(machine, Gradient(3, 0));
  Contribution bad = Gradient(1, 1, /*digest=*/5);
  bad.worker = "b";
  bad.incarnation = 2;
  bad.finite = false;
  Handle(machine, bad);

  SessionMachine loaded = Make();
  const std::string bytes = Bytes(machine);
  ByteReader reader(bytes);
  ASSERT_TRUE(loaded.Load(reader, now_).ok());
  ASSERT_TRUE(reader.End().ok());
  EXPECT_EQ(Bytes(loaded), bytes);
  EXPECT_EQ(loaded.NumLiveWorkers(now_), 2u);
  const Effects repeat = Handle(loaded, Gradient(3, 0));
  ASSERT_TRUE(repeat.answer.has_value());
  EXPECT_TRUE(repeat.answer->replayed);
  EXPECT_EQ(repeat.answer->report->loss, 0.25);
  EXPECT_EQ(Handle(loaded, bad).answer->verdict, Verdict::kRejectedNonFinite);
}

// ---- accumulation ----

TEST_F(SessionMachineTest, RoundClosesWithItsLastContributionAndReportsThemAll) {
  SessionMachine machine = Make(/*max_staleness=*/0, /*accumulation_steps=*/3);
  Handle(machine, Join{"a", 1});
  Handle(machine, Join{"b", 2});
  Contribution first = Gradient(1, 0);
  first.loss = 1;
  Contribution second = OfB(Gradient(7, 0));
  second.loss.reset();
  Contribution third = Gradient(2, 0);
  third.loss = 4;
  EXPECT_EQ(Fold(machine, first).applied_version, 1u);
  EXPECT_EQ(machine.num_folded(), 1u);
  EXPECT_EQ(Fold(machine, second).applied_version, 1u);
  EXPECT_EQ(machine.version(), 0u);
  const Effects closing = Handle(machine, third);
  EXPECT_TRUE(closing.fold);
  ASSERT_TRUE(closing.step.has_value());
  EXPECT_EQ(closing.step->number, 1u);
  EXPECT_EQ(closing.step->contributors, 3u);
  const Answer answer = *Handle(machine, StepTaken{3, 0.5, 0.125}).answer;
  EXPECT_EQ(answer.verdict, Verdict::kApplied);
  EXPECT_EQ(answer.report->contributors, 3u);
  EXPECT_EQ(answer.report->loss, 2.5);  // of those that told one
  EXPECT_EQ(answer.report->clip_factor, 0.5);
  EXPECT_EQ(machine.num_folded(), 0u);
  // The next round starts from nothing.
  Contribution next = Gradient(3, 1);
  next.loss.reset();
  Fold(machine, next);
  Fold(machine, OfB(Gradient(8, 1)));
  EXPECT_EQ(Apply(machine, Gradient(4, 1)).report->loss, 0.25);
}

TEST_F(SessionMachineTest, RepeatOfAPendingOneIsToldWhatBecameOfIt) {
  SessionMachine machine = Make(/*max_staleness=*/5, /*accumulation_steps=*/2);
  Handle(machine, Join{"a", 1});
  Handle(machine, Join{"b", 2});
  const Contribution pending = OfB(Gradient(1, 0));
  Fold(machine, pending);
  // Before the round closes: still pending, and not counted again.
  Answer repeat = Repeat(machine, pending);
  EXPECT_EQ(repeat.verdict, Verdict::kPending);
  EXPECT_EQ(repeat.applied_version, 1u);
  EXPECT_EQ(machine.num_folded(), 1u);
  ExpectError(machine, OfB(Gradient(1, 0, /*digest=*/9)), "SEQUENCE_REUSED", "header.sequence");
  // After it: applied, with the report of the step.
  const Answer closed = Apply(machine, Gradient(1, 0));
  repeat = Repeat(machine, pending);
  EXPECT_EQ(repeat.verdict, Verdict::kApplied);
  EXPECT_EQ(repeat.applied_version, 1u);
  ASSERT_TRUE(repeat.report.has_value());
  EXPECT_EQ(repeat.report->update_norm, closed.report->update_norm);
  EXPECT_EQ(repeat.report->contributors, 2u);
  // After a later step: applied to its own version, whose report is no longer kept.
  Fold(machine, Gradient(2, 1));
  Apply(machine, Gradient(3, 1));
  repeat = Repeat(machine, pending);
  EXPECT_EQ(repeat.verdict, Verdict::kApplied);
  EXPECT_EQ(repeat.applied_version, 1u);
  EXPECT_FALSE(repeat.report.has_value());
}

TEST_F(SessionMachineTest, RefusedContributionsAreNotPartOfTheRound) {
  SessionMachine machine = Make(/*max_staleness=*/0, /*accumulation_steps=*/2);
  Handle(machine, Join{"a", 1});
  Fold(machine, Gradient(1, 0));
  Contribution bad = Gradient(2, 0);
  bad.finite = false;
  bad.loss = 1000;
  const Effects refused = Handle(machine, bad);
  EXPECT_EQ(refused.answer->verdict, Verdict::kRejectedNonFinite);
  EXPECT_FALSE(refused.fold);
  EXPECT_EQ(machine.num_folded(), 1u);
  ExpectError(machine, Gradient(3, 1), "VERSION_AHEAD", "header.base_version");
  EXPECT_EQ(machine.num_folded(), 1u);
  const Answer answer = Apply(machine, Gradient(3, 0));
  EXPECT_EQ(answer.report->contributors, 2u);
  EXPECT_EQ(answer.report->loss, 0.25);
  // Late for the round that has closed.
  const Effects late = Handle(machine, Gradient(4, 0));
  EXPECT_EQ(late.answer->verdict, Verdict::kRoundClosed);
  EXPECT_FALSE(late.fold);
  EXPECT_EQ(machine.num_folded(), 0u);
}

TEST_F(SessionMachineTest, StalenessOfARoundIsTheLargestAndIsForgottenWithIt) {
  SessionMachine machine = Make(/*max_staleness=*/2, /*accumulation_steps=*/2);
  Handle(machine, Join{"a", 1});
  uint64_t sequence = 0;
  const auto next = [&](uint64_t base_version) { return Gradient(++sequence, base_version); };
  for (uint64_t version = 0; version < 2; ++version) {
    Fold(machine, next(version));
    Apply(machine, next(version));
  }
  Fold(machine, next(0));
  EXPECT_EQ(Apply(machine, next(2)).report->staleness, 2u);
  EXPECT_EQ(Handle(machine, next(0)).answer->verdict, Verdict::kTooStale);
  Fold(machine, next(3));
  EXPECT_EQ(Apply(machine, next(3)).report->staleness, 0u);
}

TEST_F(SessionMachineTest, NumberMayChangeWhileARoundIsOpen) {
  SessionMachine machine = Make(/*max_staleness=*/0, /*accumulation_steps=*/2);
  Handle(machine, Join{"a", 1});
  Fold(machine, Gradient(1, 0));
  Handle(machine, Accumulating(4));
  Fold(machine, Gradient(2, 0));
  Fold(machine, Gradient(3, 0));
  // Fewer than have come already: the next one closes, and all of them count.
  Handle(machine, Accumulating(2));
  EXPECT_EQ(machine.version(), 0u);
  EXPECT_EQ(Apply(machine, Gradient(4, 0)).report->contributors, 4u);
  Fold(machine, Gradient(5, 1));
  EXPECT_EQ(Apply(machine, Gradient(6, 1)).report->contributors, 2u);
}

TEST_F(SessionMachineTest, WhatIsFoldedStaysWhenItsWorkerGoes) {
  SessionMachine machine = Make(/*max_staleness=*/0, /*accumulation_steps=*/2);
  Handle(machine, Join{"a", 1});
  Handle(machine, Join{"b", 2});
  Fold(machine, OfB(Gradient(1, 0)));
  Handle(machine, Leave{kHistory, "b", 2});
  EXPECT_EQ(Apply(machine, Gradient(1, 0)).report->contributors, 2u);
}

TEST_F(SessionMachineTest, HalfARoundIsSavedAndGoesOn) {
  SessionMachine machine = Make(/*max_staleness=*/1, /*accumulation_steps=*/3);
  Handle(machine, Join{"a", 1});
  for (uint64_t sequence = 1; sequence <= 2; ++sequence) Fold(machine, Gradient(sequence, 0));
  Apply(machine, Gradient(3, 0));
  Contribution stale = Gradient(4, 0);
  stale.loss = 8;
  Fold(machine, stale);
  SessionMachine loaded = Make(/*max_staleness=*/1, /*accumulation_steps=*/3);
  const std::string bytes = Bytes(machine);
  ByteReader reader(bytes);
  ASSERT_TRUE(loaded.Load(reader, now_).ok());
  ASSERT_TRUE(reader.End().ok());
  EXPECT_EQ(Bytes(loaded), bytes);
  EXPECT_EQ(loaded.num_folded(), 1u);
  EXPECT_EQ(Repeat(loaded, stale).verdict, Verdict::kPending);
  Contribution silent = Gradient(5, 1);
  silent.loss.reset();
  Fold(loaded, silent);
  const Answer answer = Apply(loaded, Gradient(6, 1));
  EXPECT_EQ(answer.report->contributors, 3u);
  EXPECT_EQ(answer.report->staleness, 1u);
  EXPECT_EQ(answer.report->loss, (8 + 0.25) / 2);
}

}  // namespace
}  // namespace talweg::core
