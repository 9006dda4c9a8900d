// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/fleet/fleet.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/experiments/fleet/fleet_view.h"
#include "client/experiments/fleet/fleet_workers.h"
#include "client/experiments/mnist/mnist_batches.h"
#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/mnist/network_session.h"
#include "client/experiments/mnist/parallel_gradient.h"
#include "client/experiments/plots/report_files.h"
#include "client/experiments/runs/own_session.h"
#include "client/process/program_path.h"
#include "client/terminal/progress.h"

namespace talweg {
namespace {

constexpr absl::Duration kTickEvery = absl::Milliseconds(50);
constexpr absl::Duration kAskEvery = absl::Milliseconds(200);  // asks the server which workers live
constexpr absl::Duration kRedrawEvery = absl::Milliseconds(200);
constexpr absl::Duration kLineEvery = absl::Seconds(5);  // if nothing can be redrawn
constexpr absl::Duration kStopGrace = absl::Seconds(5);
constexpr size_t kMaxWorkers = 256;

// What is left of the options once every default is filled in.
struct FleetSetting {
  FleetShape shape;
  double slowdown = 1;
  absl::Duration pace;
};

// One of the runs.
struct FleetPlan {
  FleetMode mode;
  double slowdown = 1;
};

absl::StatusOr<FleetSetting> SettingOf(const FleetOptions& options) {
  const auto wrong = [](absl::string_view text) { return absl::InvalidArgumentError(text); };
  FleetSetting setting;
  FleetShape& shape = setting.shape;
  if (options.num_workers < 1 || options.num_workers > kMaxWorkers) {
    return wrong(absl::StrCat("workers must be in [1, ", kMaxWorkers, "]"));
  }
  shape.num_workers = options.num_workers;
  shape.k = options.k.value_or(std::max<uint64_t>(options.num_workers - 1, 1));
  if (shape.k < 1 || shape.k > shape.num_workers) return wrong("k must be in [1, workers]");
  shape.num_rounds = options.num_rounds.value_or(options.compare ? 300 : 1000);
  if (shape.num_rounds < 1 || shape.num_rounds > 1000000) {
    return wrong("rounds must be in [1, 1000000]");
  }
  shape.lease_seconds = options.lease_seconds;
  if (shape.lease_seconds < 1 || shape.lease_seconds > 3600) {
    return wrong("lease must be in [1, 3600] seconds");
  }
  if (options.batch_size < 1 || options.batch_size > 60000) {
    return wrong("batch must be in [1, 60000]");
  }
  setting.slowdown = options.slowdown.value_or(options.compare ? 10 : 1);
  // Also refuses what is not a number.
  if (!(setting.slowdown >= 1 && setting.slowdown <= 1000)) {
    return wrong("straggler must be in [1, 1000]");
  }
  setting.pace =
      options.pace.value_or(options.compare ? absl::Milliseconds(20) : absl::ZeroDuration());
  if (setting.pace < absl::ZeroDuration() || setting.pace > absl::Minutes(1)) {
    return wrong("pace must be in [0, 60] seconds");
  }
  if (options.kill_every < absl::ZeroDuration()) return wrong("kill-every must be above 0");
  return setting;
}

absl::StatusOr<std::vector<FleetPlan>> PlansOf(const FleetOptions& options, double slowdown) {
  const absl::Span<const FleetMode> all = FleetModes();
  if (options.compare) {
    std::vector<FleetPlan> plans;
    for (const FleetMode& mode : all) plans.push_back({mode, slowdown});
    // What the straggler costs is seen beside a fleet that has none.
    if (slowdown > 1) plans.push_back({all.front(), 1});
    return plans;
  }
  if (const FleetMode* mode = FindFleetMode(options.mode)) {
    return std::vector<FleetPlan>{{*mode, slowdown}};
  }
  const std::string known = absl::StrJoin(
      all, ", ", [](std::string* out, const FleetMode& m) { absl::StrAppend(out, m.name); });
  return absl::InvalidArgumentError(
      absl::StrCat("no mode \"", options.mode, "\"; there are: ", known));
}

// One run of one mode: session, workers, watch, and what is drawn meanwhile. Everything happens on
// the calling thread, between messages of the watch.
class FleetDriver {
 public:
  FleetDriver(const FleetOptions& options, const FleetSetting& setting, const FleetPlan& plan,
              std::FILE* progress)
      : options_(options),
        setting_(setting),
        progress_(progress),
        session_id_(OwnSessionId(absl::StrCat("fleet-", plan.mode.name))) {
    run_.mode = plan.mode;
    run_.shape = setting.shape;
    run_.batch_size = options.batch_size;
    run_.slowdown = plan.slowdown;
    run_.pace_seconds = absl::ToDoubleSeconds(setting.pace);
  }

  absl::StatusOr<FleetRun> Run(const MnistData& data) {
    ClientOptions client_options = options_.client;
    client_options.retry.stop = [this] { return over_ || (options_.stop && options_.stop()); };
    const absl::StatusOr<Client> client = Client::Connect(options_.server, client_options);
    if (!client.ok()) return client.status();
    client_ = &*client;
    const absl::StatusOr<v1::Session> session =
        client->CreateSession(FleetRequest(session_id_, run_.mode, setting_.shape, options_.seed));
    if (!session.ok()) return session.status();
    absl::Status status = Work();
    if (status.ok()) status = Evaluate(session->config().layout(), data);
    // The session is gone already if somebody else deleted it, which is then what went wrong.
    const absl::Status deleted = client->DeleteSession(session_id_, session->history());
    status.Update(deleted);
    if (!status.ok()) return status;
    return run_;
  }

 private:
  absl::Status Work() {
    begin_ = absl::Now();
    workers_.emplace(WorkerOptions(), begin_);
    if (progress_ != nullptr && IsTerminal(progress_)) screen_.emplace(progress_);
    absl::Status status = workers_->Start();
    if (status.ok()) status = Watch();
    workers_->Stop(kStopGrace);
    Count();
    const absl::StatusOr<v1::Session> left = client_->GetSession(session_id_);
    if (left.ok()) num_live_ = left->num_live_workers();
    if (screen_) {
      Draw(absl::Now(), /*at_once=*/true);
      screen_.reset();
    } else {
      next_draw_ = absl::InfinitePast();
      Draw(absl::Now(), /*at_once=*/true);
    }
    return status;
  }

  // Until the last version is made, or until something goes wrong.
  absl::Status Watch() {
    WatchOptions watch;
    watch.follow = true;
    watch.idle = [this] { Tick(absl::Now()); };
    const absl::Status status =
        client_->WatchSession(session_id_, watch, [&](const v1::WatchSessionResponse& message) {
          for (const v1::StepRecord& record : message.records()) run_.Add(record);
          Tick(absl::Now());
          over_ = over_ || run_.complete();
          return absl::OkStatus();
        });
    const bool done = run_.complete() && trouble_.ok();
    over_ = false;  // what comes now is to be tried again like any other call
    if (!trouble_.ok()) return trouble_;
    return done ? absl::OkStatus() : status;
  }

  void Tick(absl::Time now) {
    if (now < next_tick_) return;
    next_tick_ = now + kTickEvery;
    if (!over_) trouble_.Update(workers_->Tick(now));
    over_ = over_ || !trouble_.ok();
    if (now >= next_question_) {
      next_question_ = now + kAskEvery;
      AskWhoLives();
    }
    Count();
    Draw(now, /*at_once=*/false);
  }

  void AskWhoLives() {
    const absl::StatusOr<v1::Session> session = client_->GetSession(session_id_);
    if (!session.ok()) return;  // the watch will say it, too
    num_live_ = session->num_live_workers();
    const uint64_t num_expired = session->num_workers() - session->num_live_workers();
    if (num_expired > num_expired_) {
      run_.num_expiries += num_expired - num_expired_;
      Tell(absl::StrCat("a lease ran out: ", num_live_, " workers are left"));
    }
    num_expired_ = num_expired;
  }

  void Count() {
    run_.num_kills = workers_->num_kills();
    run_.num_restarts = workers_->num_restarts();
    run_.tally = {};
    for (const FleetWorker& worker : workers_->workers()) run_.tally.Add(worker.tally);
  }

  void Tell(const std::string& text) {
    const double seconds = absl::ToDoubleSeconds(absl::Now() - begin_);
    events_.push_back(absl::StrFormat("%6.1f s  %s", seconds, text));
    if (!screen_ && progress_ != nullptr) absl::FPrintF(progress_, "%s\n", events_.back());
  }

  void Draw(absl::Time now, bool at_once) {
    if (progress_ == nullptr || (!at_once && now < next_draw_)) return;
    const FleetSight sight = {run_,        workers_->workers(), num_live_, options_.server,
                              session_id_, now - begin_,        events_};
    if (screen_) {
      next_draw_ = now + kRedrawEvery;
      const TerminalSize size = SizeOfTerminal(progress_);
      screen_->Draw(FleetPage(sight, size), size);
    } else {
      next_draw_ = now + kLineEvery;
      absl::FPrintF(progress_, "%s\n", FleetLine(sight));
      std::fflush(progress_);
    }
  }

  absl::Status Evaluate(const v1::Layout& layout, const MnistData& data) {
    const absl::StatusOr<std::vector<size_t>> widths = WidthsOf(layout);
    if (!widths.ok()) return widths.status();
    ParallelGradient network(*widths, 1);
    std::vector<float> parameters(network.num_parameters());
    const absl::Status pulled = client_->Pull(session_id_, absl::MakeSpan(parameters)).status();
    if (!pulled.ok()) return pulled;
    run_.test_accuracy = Accuracy(network, parameters, data.test);
    return absl::OkStatus();
  }

  FleetWorkers::Options WorkerOptions() {
    FleetWorkers::Options options;
    options.program = PathOfThisProgram();
    options.num_workers = setting_.shape.num_workers;
    options.kill_every = options_.kill_every;
    options.lease = absl::Seconds(setting_.shape.lease_seconds);
    options.seed = options_.seed;
    options.tell = [this](const std::string& text) { Tell(text); };
    const std::string slow = absl::StrCat("worker-", setting_.shape.num_workers - 1);
    options.arguments = [this, slow](const std::string& worker, uint64_t life) {
      std::vector<std::string> words = {
          "experiment",
          "fleet_worker",
          absl::StrCat("--server=", options_.server),
          absl::StrCat("--session=", session_id_),
          absl::StrCat("--worker=", worker),
          absl::StrCat("--versions=", NumVersions(run_.mode, setting_.shape)),
          absl::StrCat("--batch=", options_.batch_size),
          absl::StrCat("--seed=", options_.seed),
          absl::StrCat("--life=", life),
          absl::StrCat("--pace=", absl::FormatDuration(setting_.pace))};
      if (worker == slow) words.push_back(absl::StrCat("--slowdown=", run_.slowdown));
      if (!options_.data_dir.empty()) {
        words.push_back(absl::StrCat("--data_dir=", options_.data_dir));
      }
      return words;
    };
    return options;
  }

  const FleetOptions& options_;
  const FleetSetting& setting_;
  std::FILE* const progress_;
  const std::string session_id_;
  const Client* client_ = nullptr;
  FleetRun run_;
  std::optional<FleetWorkers> workers_;
  std::optional<Screen> screen_;
  std::vector<std::string> events_;
  uint64_t num_live_ = 0;
  uint64_t num_expired_ = 0;
  absl::Status trouble_;
  bool over_ = false;  // ends the watch
  absl::Time begin_;
  absl::Time next_tick_ = absl::InfinitePast();
  absl::Time next_question_ = absl::InfinitePast();
  absl::Time next_draw_ = absl::InfinitePast();
};

}  // namespace

absl::Status RunFleet(const FleetOptions& options, std::ostream& out, std::FILE* progress) {
  const absl::StatusOr<FleetSetting> setting = SettingOf(options);
  if (!setting.ok()) return setting.status();
  const absl::StatusOr<std::vector<FleetPlan>> plans = PlansOf(options, setting->slowdown);
  if (!plans.ok()) return plans.status();
  const absl::StatusOr<MnistData> data = FindAndLoadMnist(options.data_dir);
  if (!data.ok()) return data.status();
  const absl::Status made = MakeFolder(options.out_dir);
  if (!made.ok()) return made;
  SetNumBlasThreads(1);

  std::vector<FleetRun> runs;
  for (const FleetPlan& plan : *plans) {
    absl::StatusOr<FleetRun> run = FleetDriver(options, *setting, plan, progress).Run(*data);
    if (!run.ok()) return run.status();
    runs.push_back(*std::move(run));
  }
  return FleetReport(options.out_dir, runs).Deliver(options.json, out);
}

}  // namespace talweg
