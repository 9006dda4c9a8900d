// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/fleet.h"

#include <algorithm>

namespace talweg::simulation {

Fleet::Fleet(const WorldConfig& world, Random& random, Agenda& agenda, Network& network)
    : world_(world),
      random_(random),
      agenda_(agenda),
      network_(network),
      people_(world.num_workers) {}

void Fleet::Start() {
  processes_.reserve(world_.num_workers + 64);
  for (uint32_t worker = 0; worker < world_.num_workers; ++worker) {
    if (random_.Chance(world_.straggler_share)) people_[worker].slowness = world_.straggler_factor;
    Begin(worker, Seconds(random_.Between(0, 2 * world_.compute_seconds)));
  }
}

void Fleet::Begin(uint32_t worker, Nanoseconds delay) {
  const auto process = static_cast<uint32_t>(processes_.size());
  ++totals_.processes;
  processes_.emplace_back();
  processes_[process].worker = worker;
  processes_[process].beats = calm_ || random_.Chance(world_.heartbeat_share);
  people_[worker].process = process;
  Sleep(process, delay);
}

void Fleet::Sleep(uint32_t process, Nanoseconds delay) {
  agenda_.In(delay, Happening::kWake, process, ++processes_[process].generation);
}

void Fleet::Die(uint32_t index) {
  Process& process = processes_[index];
  process.phase = Phase::kOver;
  ++process.generation;
  // Its connection breaks, or is half open for ever.
  if (process.call != 0 && random_.Chance(world_.faults.breaks_off)) {
    agenda_.In(Seconds(random_.LongTailed(0.5)), Happening::kBroken, index, process.call);
  }
  process.call = 0;
}

void Fleet::Call(uint32_t index, Subject subject) {
  Process& process = processes_[index];
  Request request;
  request.subject = subject;
  request.process = index;
  request.gradient = !IsObserver(process.worker);
  request.history = process.history;
  request.key = {process.worker, process.incarnation, 0};
  if (subject == Subject::kJoin) request.nonce = process.nonce;
  if (subject == Subject::kContribute) {
    request.key.sequence = process.sequence;
    request.payload = process.payload;
    request.may_wait = process.may_wait;
  }
  if (subject == Subject::kHeartbeat || subject == Subject::kLeave) return network_.Send(request);
  // The last attempt is given up, and the server may learn of it.
  if (process.call != 0 && random_.Chance(world_.faults.breaks_off)) {
    agenda_.In(Seconds(world_.delay_seconds), Happening::kBroken, index, process.call);
  }
  process.call = process.generation + 1;  // larger than any before
  request.call = process.call;
  network_.Send(request);
  const double patience = process.impatient ? world_.compute_seconds : world_.call_timeout;
  Sleep(index, Seconds(random_.Between(0.8, 1.2) * patience));
}

void Fleet::OnWake(uint32_t index, uint64_t generation) {
  Process& process = processes_[index];
  if (generation != process.generation || process.phase == Phase::kOver) return;
  if (process.frozen_until > agenda_.now()) {
    agenda_.At(process.frozen_until, Happening::kWake, index, generation);
    return;
  }
  switch (process.phase) {
    case Phase::kBorn:
      if (process.beats) agenda_.In(1, Happening::kBeat, index);
      BeginToJoin(index);
      return Call(index, Subject::kJoin);
    case Phase::kJoining:
      return Call(index, Subject::kJoin);
    case Phase::kPulling:
      return Call(index, Subject::kPull);
    case Phase::kComputing:
      return Contribute(index);
    case Phase::kContributing:
      if (process.impatient) return Compute(index);
      ++totals_.retries;
      process.may_wait = !random_.Chance(world_.asks_not_to_wait);
      if (random_.Chance(calm_ ? 0 : world_.faults.reuses_sequence)) ++process.payload.content;
      return Call(index, Subject::kContribute);
    case Phase::kIdle:
    case Phase::kOver:
      return;
  }
}

void Fleet::BeginToJoin(uint32_t index) {
  processes_[index].phase = Phase::kJoining;
  // Some processes know no nonces.
  processes_[index].nonce = index % 4 == 3 ? 0 : ++last_nonce_;
}

void Fleet::OnBeat(uint32_t index) {
  Process& process = processes_[index];
  if (process.phase == Phase::kOver) return;
  const uint64_t lease =
      process.lease_seconds == 0 ? world_.policy.lease_seconds : process.lease_seconds;
  const Nanoseconds period = Seconds(static_cast<double>(lease) / 3);
  agenda_.At(std::max(agenda_.now() + period, process.frozen_until), Happening::kBeat, index);
  if (process.frozen_until > agenda_.now() || process.incarnation == 0) return;
  Call(index, Subject::kHeartbeat);
}

void Fleet::Compute(uint32_t index) {
  Process& process = processes_[index];
  process.phase = Phase::kComputing;
  // An observer contributes nothing, unless it errs.
  if (IsObserver(process.worker) && (calm_ || random_.Chance(0.7))) {
    process.phase = Phase::kIdle;
    return;
  }
  const double mean = world_.compute_seconds * people_[process.worker].slowness;
  Sleep(index, Seconds(mean * random_.Between(0.5, 1.5)));
}

void Fleet::Contribute(uint32_t index) {
  Process& process = processes_[index];
  process.phase = Phase::kContributing;
  process.sequence += random_.Chance(0.05) ? 3 : 1;
  process.payload = Payload{};
  process.payload.base_version = process.version;
  process.payload.content = Mix(world_.seed ^ Mix(++next_content_));
  process.payload.finite = calm_ || !random_.Chance(world_.faults.not_finite);
  process.payload.weight = static_cast<float>(random_.Between(world_.lightest, world_.heaviest));
  // Losses of few digits: sums of them are exact in double as well.
  if (random_.Chance(0.7)) {
    process.payload.loss = static_cast<double>(random_.Below(1 << 20)) / 1024;
  }
  if (world_.abstains > 0 || world_.closes > 0) {
    process.payload.abstains = !calm_ && random_.Chance(world_.abstains);
    process.payload.closes_round = !calm_ && random_.Chance(world_.closes);
    if (process.payload.abstains) {
      process.payload.weight = 1;
      process.payload.loss.reset();
      process.payload.finite = true;
    }
  }
  process.may_wait = !random_.Chance(world_.asks_not_to_wait);
  process.impatient = !calm_ && random_.Chance(world_.faults.impatient);
  ++totals_.contributions;
  Call(index, Subject::kContribute);
}

bool Fleet::HasPlace(uint32_t worker) const {
  const Phase phase = processes_[people_[worker].process].phase;
  return phase != Phase::kBorn && phase != Phase::kJoining && phase != Phase::kOver;
}

void Fleet::JoinLater(uint32_t index) {
  BeginToJoin(index);
  processes_[index].call = 0;
  Sleep(index, Seconds(random_.Between(0.5, 2.0)));
}

void Fleet::OnReply(const Reply& reply) {
  Process& process = processes_[reply.process];
  if (process.phase == Phase::kOver) return;
  if (reply.error.empty()) process.lease_seconds = reply.lease_seconds;
  if (reply.subject == Subject::kHeartbeat) {
    if (reply.error == "INCARNATION_FENCED" && process.incarnation == reply.incarnation) {
      OnError(reply.process, reply);
    } else if (!reply.error.empty() && process.phase == Phase::kIdle) {
      JoinLater(reply.process);
    }
    return;
  }
  if (reply.call != process.call) return;  // of an attempt that was given up
  process.call = 0;
  if (!reply.error.empty()) return OnError(reply.process, reply);
  switch (reply.subject) {
    case Subject::kJoin:
      return OnJoined(reply.process, reply);
    case Subject::kPull:
      process.history = reply.history;
      process.version = reply.version;
      return Compute(reply.process);
    case Subject::kContribute:
      return OnAnswer(reply.process, reply);
    case Subject::kHeartbeat:
    case Subject::kLeave:
      return;
  }
}

void Fleet::OnJoined(uint32_t index, const Reply& reply) {
  Process& process = processes_[index];
  process.incarnation = reply.incarnation;
  process.history = reply.history;
  process.version = reply.version;
  process.sequence = 0;
  Compute(index);
}

void Fleet::OnAnswer(uint32_t index, const Reply& reply) {
  Process& process = processes_[index];
  Person& person = people_[process.worker];
  if (reply.answer.verdict == core::Verdict::kPending) {
    // A version of several contributions is never made if every worker only waits for the others,
    // so workers that accumulate go on. In the calm all other workers wait until they are told what
    // became of their contribution.
    const bool accumulates = world_.policy.mode == core::AggregationMode::kAsynchronous;
    if (accumulates && reply.answer.replayed) return Compute(index);
    if (random_.Chance(calm_ ? 0 : world_.goes_on_pending)) return Compute(index);
    return Sleep(index, Seconds(random_.Between(0.3, 1.0) * world_.compute_seconds));
  }
  ++totals_.answers;
  if (calm_) ++person.calm_answers;
  if (reply.answer.verdict == core::Verdict::kApplied) {
    ++totals_.applied;
    if (calm_) ++person.calm_applied;
  }
  // The reply brings the current parameters.
  process.version = reply.version;
  if (!random_.Chance(world_.pulls_anew)) return Compute(index);
  process.phase = Phase::kPulling;
  Call(index, Subject::kPull);
}

void Fleet::OnError(uint32_t index, const Reply& reply) {
  Process& process = processes_[index];
  const std::string& error = reply.error;
  if (error == "INCARNATION_FENCED") {
    // This is final for the process. Another one is started, unless that has happened.
    Die(index);
    if (people_[process.worker].process == index) {
      Begin(process.worker, Seconds(random_.Between(0.5, 3.0)));
    }
  } else if (error == "HISTORY_CHANGED") {
    process.history = reply.history;
    // The contribution may still fit, and may have been judged before: the server knows.
    if (process.phase == Phase::kContributing && random_.Chance(0.4)) {
      return Call(index, Subject::kContribute);
    }
    process.phase = Phase::kPulling;
    Call(index, Subject::kPull);
  } else if (error == "SEQUENCE_TOO_OLD" || error == "SEQUENCE_REUSED" ||
             error == "VERSION_AHEAD") {
    process.phase = Phase::kPulling;
    Call(index, Subject::kPull);
  } else if (error == "ROLE_MISSING") {
    process.phase = Phase::kIdle;
  } else if (error == "UNREACHABLE") {
    Sleep(index, Seconds(random_.Between(0.2, 1.5)));
  } else {
    JoinLater(index);  // WORKER_NOT_JOINED, TOO_MANY_WORKERS, no session
  }
}

void Fleet::OnFault(Trace& trace) {
  const auto worker = static_cast<uint32_t>(random_.Below(world_.num_workers));
  const uint32_t index = people_[worker].process;
  const Nanoseconds lease = Seconds(static_cast<double>(world_.policy.lease_seconds));
  const Nanoseconds soon = Seconds(random_.LongTailed(world_.compute_seconds));
  const uint64_t kind = random_.Below(5);
  trace.Say(agenda_.now(), "worker_fault", worker, kind);
  if (processes_[index].phase == Phase::kOver || processes_[index].phase == Phase::kBorn) return;
  ++totals_.faults;
  switch (kind) {
    case 0:  // It crashes.
      Die(index);
      return Begin(worker, static_cast<Nanoseconds>(random_.Below(2)) * lease + soon);
    case 1:  // It is stopped for a while.
      processes_[index].frozen_until =
          agenda_.now() + static_cast<Nanoseconds>(random_.Unit() * 3 * static_cast<double>(lease));
      return;
    case 2:  // It is stopped, taken for dead and replaced, and wakes.
      processes_[index].frozen_until =
          agenda_.now() + static_cast<Nanoseconds>(random_.Unit() * 4 * static_cast<double>(lease));
      return Begin(worker, soon);
    case 3:  // It leaves, and comes back.
      Call(index, Subject::kLeave);
      Die(index);
      return Begin(worker, soon + static_cast<Nanoseconds>(random_.Below(2)) * lease);
    default:  // It is replaced while it lives.
      return Begin(worker, soon);
  }
}

void Fleet::CalmDown() {
  calm_ = true;
  for (uint32_t index = 0; index < processes_.size(); ++index) {
    Process& process = processes_[index];
    if (process.phase == Phase::kOver) continue;
    if (process.phase == Phase::kBorn) Sleep(index, Seconds(random_.Unit()));
    process.impatient = false;
    if (process.frozen_until > agenda_.now()) {
      process.frozen_until = agenda_.now();
      // What it slept through is at hand again.
      agenda_.In(0, Happening::kWake, index, process.generation);
    }
    if (process.beats || !world_.all_beat_in_calm) continue;
    process.beats = true;
    if (process.phase != Phase::kBorn) agenda_.In(1, Happening::kBeat, index);
  }
}

}  // namespace talweg::simulation
