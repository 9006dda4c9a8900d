// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/mnist_es_training.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/experiments/fleet/fleet_workers.h"
#include "client/experiments/mnist/mnist_batches.h"
#include "client/experiments/mnist/network.h"
#include "client/experiments/mnist/network_session.h"
#include "client/experiments/runs/own_session.h"
#include "client/experiments/search/mnist_losses.h"
#include "client/experiments/search/mnist_tester.h"
#include "client/process/program_path.h"
#include "client/replay/replay.h"
#include "client/terminal/progress.h"
#include "core/noise/perturbation.h"

namespace talweg {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kRate = 0.1;  // in the unit of gradients
constexpr size_t kBatchSize = 100;
constexpr uint64_t kMostPairsOfLease = 32;
constexpr absl::Duration kTickEvery = absl::Milliseconds(50);
constexpr absl::Duration kStopGrace = absl::Seconds(5);

v1::CreateSessionRequest MakeRequest(const MnistEsTraining& training) {
  v1::CreateSessionRequest request;
  request.set_session_id(OwnSessionId("mnist_es"));
  v1::SessionConfig& config = *request.mutable_config();
  SetNetwork(training.widths, training.seed, request);
  config.mutable_optimizer()->mutable_gradient_descent();
  config.mutable_schedule()->set_learning_rate(kRate);
  if (training.num_pairs == 0) return request;
  config.mutable_schedule()->set_learning_rate(kRate / (training.sigma * training.sigma));
  v1::SearchPolicy& search = *config.mutable_search();
  search.set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  search.set_seed(training.seed);
  search.set_num_pairs(static_cast<uint32_t>(training.num_pairs));
  search.set_sigma(training.sigma);
  search.set_scale(v1::SCALE_TUTORIAL);
  search.set_evaluate_every(1);
  search.set_max_generations(static_cast<uint32_t>(training.num_steps));
  return request;
}

// One training. Everything happens on the calling thread, between messages of the watch.
class Trainer {
 public:
  Trainer(const MnistData& data, const MnistEsTraining& training)
      : data_(data),
        training_(training),
        request_(MakeRequest(training)),
        tester_(data.test, training.widths),
        network_(training.widths),
        parameters_(network_.num_parameters()) {
    run_.num_pairs = training.num_pairs;
    run_.seed = training.seed;
    run_.widths.assign(training.widths.begin(), training.widths.end());
    run_.num_steps = training.num_steps;
    run_.first_cosine = kNaN;
    run_.points.resize(training.num_steps + 1);
    for (uint64_t i = 0; i <= training.num_steps; ++i) {
      run_.points[i] = {i, kNaN, kNaN, kNaN, kNaN};
    }
    if (training.progress != nullptr) {
      progress_.emplace(training.progress, IsTerminal(training.progress),
                        absl::StrFormat("%-18s", run_.name()), training.num_steps);
    }
  }

  absl::StatusOr<MnistEsRun> Run() {
    ClientOptions options = training_.client;
    options.retry.stop = [this] { return over_ || Stopped(); };
    const absl::StatusOr<Client> client = Client::Connect(training_.server, options);
    if (!client.ok()) return client.status();
    client_ = &*client;
    const absl::Status status =
        run_.searches() ? Search() : InOwnSession(*client_, request_, [this](Session& session) {
          return Backpropagate(session);
        });
    if (progress_) progress_->Finish(num_done_, Detail());
    if (!status.ok()) return status;
    return run_;
  }

 private:
  bool Stopped() const { return training_.stop && training_.stop(); }

  // `parameters_` are those of version 0.
  void Begin() {
    begin_ = absl::Now();
    run_.points[0].seconds = 0;
    Test(parameters_, run_.points[0]);
  }

  void Test(absl::Span<const float> parameters, MnistEsPoint& point) {
    const MnistTester::Result result = tester_.Test(parameters);
    point.test_loss = result.loss;
    point.test_accuracy = result.accuracy;
  }

  void Done(uint64_t update) {
    const absl::Time now = absl::Now();
    run_.points[update].seconds = absl::ToDoubleSeconds(now - begin_);
    num_done_ = update;
    if (progress_ && progress_->Due(now)) progress_->Draw(num_done_, Detail(), now);
  }

  absl::Status Backpropagate(Session& session) {
    std::vector<float> gradient(parameters_.size());
    absl::Status status = session.Pull(absl::MakeSpan(parameters_)).status();
    if (status.ok()) Begin();
    for (uint64_t update = 1; status.ok() && update <= training_.num_steps; ++update) {
      if (Stopped()) return absl::CancelledError("stopped");
      // The data that a search of this seed would see.
      const uint64_t data_seed = core::DataSeed(training_.seed, static_cast<uint32_t>(update));
      const MnistBatch batch = BatchOfSeed(data_.train, kBatchSize, data_seed);
      const BatchResult result =
          network_.Gradient(parameters_, batch.inputs, batch.labels, absl::MakeSpan(gradient));
      run_.points[update - 1].loss = result.loss;
      const auto step = session.Step(gradient, absl::MakeSpan(parameters_), {result.loss});
      if (!step.ok()) return step.status();
      if (!step->applied()) return absl::InternalError("a gradient was not applied");
      Test(parameters_, run_.points[update]);
      Done(update);
    }
    return status;
  }

  absl::Status Search() {
    const absl::StatusOr<v1::Session> session = client_->CreateSession(request_);
    if (!session.ok()) return session.status();
    config_ = session->config();
    absl::Status status =
        client_->Pull(request_.session_id(), absl::MakeSpan(parameters_)).status();
    if (status.ok()) Begin();
    if (status.ok()) status = Work();
    over_ = false;  // what comes now is to be tried again like any other call
    // The session is gone already if somebody else deleted it, which is then what went wrong.
    status.Update(client_->DeleteSession(request_.session_id(), session->history()));
    return status;
  }

  absl::Status Work() {
    workers_.emplace(WorkerOptions(), absl::Now());
    absl::Status status = workers_->Start();
    if (status.ok()) status = Watch();
    workers_->Stop(kStopGrace);
    return status;
  }

  // Until the last version is made, or until something goes wrong.
  absl::Status Watch() {
    WatchOptions watch;
    watch.follow = true;
    watch.idle = [this] { Tick(absl::Now()); };
    absl::Status taken;
    const absl::Status status = client_->WatchGenerations(
        request_.session_id(), watch, [&](const v1::WatchGenerationsResponse& message) {
          if (message.has_record()) taken.Update(Take(message));
          Tick(absl::Now());
          over_ = over_ || !taken.ok() || num_done_ == training_.num_steps;
          return absl::OkStatus();
        });
    taken.Update(trouble_);
    if (!taken.ok()) return taken;
    return num_done_ == training_.num_steps ? absl::OkStatus() : status;
  }

  absl::Status Take(const v1::WatchGenerationsResponse& message) {
    const v1::GenerationRecord& record = message.record();
    const uint64_t update = record.version();
    if (update > training_.num_steps) return absl::OkStatus();
    run_.points[update - 1].loss = record.evaluated_loss();
    if (update == 1) {
      const absl::Status compared = CompareFirst(message);
      if (!compared.ok()) return compared;
    }
    Done(update);
    const absl::StatusOr<PulledVersion> pulled =
        client_->Pull(request_.session_id(), absl::MakeSpan(parameters_));
    if (!pulled.ok()) return pulled.status();
    // Slower than the search: some versions are passed over.
    if (pulled->version <= training_.num_steps) {
      Test(parameters_, run_.points[pulled->version]);
    }
    return absl::OkStatus();
  }

  // The first step, replayed, beside the gradient on the same images. `parameters_` are still those
  // of version 0.
  absl::Status CompareFirst(const v1::WatchGenerationsResponse& message) {
    absl::StatusOr<Replay> replay = Replay::Begin(config_, 0, parameters_);
    if (!replay.ok()) return replay.status();
    const absl::Status applied = replay->Apply(message);
    if (!applied.ok()) return applied;
    const uint64_t data_seed = core::DataSeed(training_.seed, message.record().generation());
    const MnistBatch batch = BatchOfSeed(data_.train, kBatchSize, data_seed);
    std::vector<float> gradient(parameters_.size());
    network_.Gradient(parameters_, batch.inputs, batch.labels, absl::MakeSpan(gradient));
    std::vector<float> step(parameters_.size());
    for (size_t i = 0; i < step.size(); ++i) step[i] = parameters_[i] - replay->parameters()[i];
    run_.first_cosine = Cosine(step, gradient);
    return absl::OkStatus();
  }

  void Tick(absl::Time now) {
    if (now < next_tick_) return;
    next_tick_ = now + kTickEvery;
    if (!over_) trouble_.Update(workers_->Tick(now));
    over_ = over_ || !trouble_.ok();
  }

  FleetWorkers::Options WorkerOptions() {
    FleetWorkers::Options options;
    options.program = PathOfThisProgram();
    options.num_workers = training_.num_workers;
    options.seed = training_.seed;
    const uint64_t capacity = std::clamp<uint64_t>(
        training_.num_pairs / (4 * training_.num_workers), 1, kMostPairsOfLease);
    options.arguments = [this, capacity](const std::string& worker, uint64_t) {
      std::vector<std::string> words = {"experiment",
                                        "mnist_es_worker",
                                        absl::StrCat("--server=", training_.server),
                                        absl::StrCat("--session=", request_.session_id()),
                                        absl::StrCat("--worker=", worker),
                                        absl::StrCat("--batch=", kBatchSize),
                                        absl::StrCat("--capacity=", capacity)};
      if (!training_.data_dir.empty()) {
        words.push_back(absl::StrCat("--data_dir=", training_.data_dir));
      }
      return words;
    };
    return options;
  }

  std::string Detail() const {
    const MnistEsPoint& point = run_.points[num_done_];
    const double seconds = num_done_ > 0 ? point.seconds / static_cast<double>(num_done_) : 0;
    return absl::StrFormat("loss %.4f  test %.2f %%  %.2f s/update",
                           run_.points[num_done_ - (num_done_ > 0 ? 1 : 0)].loss,
                           100 * run_.test_accuracy(), seconds);
  }

  const MnistData& data_;
  const MnistEsTraining& training_;
  const v1::CreateSessionRequest request_;
  MnistTester tester_;
  Network<float> network_;
  std::vector<float> parameters_;
  const Client* client_ = nullptr;
  v1::SessionConfig config_;
  MnistEsRun run_;
  std::optional<FleetWorkers> workers_;
  std::optional<Progress> progress_;
  uint64_t num_done_ = 0;  // updates
  absl::Status trouble_;
  bool over_ = false;  // ends the watch
  absl::Time begin_;
  absl::Time next_tick_ = absl::InfinitePast();
};

}  // namespace

absl::StatusOr<MnistEsRun> TrainMnistEs(const MnistData& data, const MnistEsTraining& training) {
  return Trainer(data, training).Run();
}

}  // namespace talweg
