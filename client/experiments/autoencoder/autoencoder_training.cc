// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/autoencoder/autoencoder_training.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/experiments/autoencoder/autoencoder_shape.h"
#include "client/experiments/mnist/network_session.h"
#include "client/experiments/runs/own_session.h"
#include "client/process/child_process.h"
#include "client/process/program_path.h"
#include "client/terminal/progress.h"

namespace talweg {
namespace {

constexpr uint64_t kNumImages = 60000;
constexpr absl::Duration kTickEvery = absl::Milliseconds(50);
constexpr absl::Duration kStopGrace = absl::Seconds(5);

v1::CreateSessionRequest MakeRequest(const AutoencoderMethod& method,
                                     const AutoencoderTraining& training) {
  v1::CreateSessionRequest request;
  request.set_session_id(OwnSessionId("autoencoder"));
  SetNetwork(training.widths, training.seed, request);
  // PyTorch's own: weights and biases uniform within 1 / sqrt(inputs).
  v1::SeededValues& seeded = *request.mutable_initial_values()->mutable_seeded();
  seeded.clear_rules();
  for (size_t layer = 1; layer < training.widths.size(); ++layer) {
    const double bound = 1 / std::sqrt(static_cast<double>(training.widths[layer - 1]));
    for (const char* letter : {"w", "b"}) {
      v1::InitialValueRule& rule = *seeded.add_rules();
      rule.set_tensors(absl::StrCat(letter, layer));
      rule.mutable_uniform()->set_low(-bound);
      rule.mutable_uniform()->set_high(bound);
    }
  }
  v1::SessionConfig& config = *request.mutable_config();
  config.mutable_schedule()->set_learning_rate(method.learning_rate);
  method.set(config);
  v1::AggregationPolicy& policy = *config.mutable_aggregation();
  policy.set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
  policy.set_min_workers(static_cast<uint32_t>(method.num_workers));
  return request;
}

// Everything happens on the calling thread.
class Trainer {
 public:
  Trainer(const AutoencoderMethod& method, const AutoencoderTraining& training)
      : method_(method), training_(training), request_(MakeRequest(method, training)) {
    run_.name = method.name;
    run_.learning_rate = method.learning_rate;
    run_.num_workers = method.num_workers;
    num_steps_ = kNumImages / training.batch_size * training.num_epochs;
    if (training.progress != nullptr) {
      progress_.emplace(training.progress, IsTerminal(training.progress),
                        absl::StrFormat("%-28s", method.name), num_steps_);
    }
  }

  absl::StatusOr<AutoencoderRun> Run() {
    absl::StatusOr<Client> client = Client::Connect(training_.server, training_.client);
    if (!client.ok()) return client.status();
    client_ = &*client;
    const absl::StatusOr<v1::Session> session = client_->CreateSession(request_);
    if (!session.ok()) return session.status();
    absl::Status status = StartWorkers();
    while (status.ok() && AnyRuns()) {
      if (training_.stop && training_.stop()) status = absl::CancelledError("stopped");
      ReadWorkers();
      if (status.ok()) status = Follow();
      absl::SleepFor(kTickEvery);
    }
    ReadWorkers();
    if (status.ok()) status = Follow();
    if (status.ok()) status = CheckEnds();
    for (auto& worker : workers_) worker->Stop(kStopGrace);
    if (progress_) progress_->Finish(version_, Detail());
    status.Update(client_->DeleteSession(request_.session_id(), session->history()));
    if (!status.ok()) return status;
    return run_;
  }

 private:
  absl::Status StartWorkers() {
    const uint64_t cores = std::max(1u, std::thread::hardware_concurrency());
    for (uint64_t index = 0; index < method_.num_workers; ++index) {
      std::vector<std::string> arguments = {
          "experiment", "autoencoder_worker",
          "--server",   training_.server,
          "--session",  request_.session_id(),
          "--worker",   absl::StrCat("worker-", index),
          "--index",    absl::StrCat(index),
          "--workers",  absl::StrCat(method_.num_workers),
          "--batch",    absl::StrCat(training_.batch_size),
          "--epochs",   absl::StrCat(training_.num_epochs),
          "--seed",     absl::StrCat(training_.seed),
          "--threads",  absl::StrCat(std::max<uint64_t>(1, cores / method_.num_workers))};
      if (!training_.data_dir.empty()) {
        arguments.insert(arguments.end(), {"--data_dir", training_.data_dir});
      }
      absl::StatusOr<std::unique_ptr<ChildProcess>> worker =
          ChildProcess::Start(PathOfThisProgram(), arguments);
      if (!worker.ok()) return worker.status();
      workers_.push_back(*std::move(worker));
    }
    return absl::OkStatus();
  }

  bool AnyRuns() {
    return std::any_of(workers_.begin(), workers_.end(),
                       [](const auto& worker) { return worker->Running(); });
  }

  void ReadWorkers() {
    for (auto& worker : workers_) {
      for (const std::string& line : worker->ReadLines()) {
        const std::optional<EpochLine> epoch = ParseEpochLine(line);
        if (epoch.has_value()) {
          run_.epochs.push_back(*epoch);
        } else if (line == kDivergedLine) {
          run_.diverged = true;
        } else {
          last_words_ = line;
        }
      }
    }
  }

  absl::Status CheckEnds() {
    for (auto& worker : workers_) {
      if (worker->EndedWell()) continue;
      return absl::InternalError(
          absl::StrCat("a worker ended with ", worker->HowItEnded(), ": ", last_words_));
    }
    return absl::OkStatus();
  }

  // The steps that were taken since the last call.
  absl::Status Follow() {
    WatchOptions watch;
    watch.after_version = version_;
    absl::Status status = client_->WatchSession(
        request_.session_id(), watch, [this](const v1::WatchSessionResponse& message) {
          for (const v1::StepRecord& record : message.records()) {
            version_ = record.version();
            run_.losses.push_back(record.report().loss());
            run_.server_seconds.push_back(record.step_seconds());
            run_.curvature = record.report().curvature();
            run_.largest_inverse_age =
                std::max<uint64_t>(run_.largest_inverse_age, run_.curvature.inverse_age_steps());
          }
          return absl::OkStatus();
        });
    const absl::Time now = absl::Now();
    if (progress_ && progress_->Due(now)) progress_->Draw(version_, Detail(), now);
    return status;
  }

  std::string Detail() const {
    std::string text = run_.losses.empty() ? "" : absl::StrFormat("loss %.1f", run_.losses.back());
    if (run_.epochs.size() > 1) {
      absl::StrAppendFormat(&text, "  epoch %d: %.1f", run_.epochs.back().epoch,
                            run_.epochs.back().loss);
    }
    if (run_.curvature.inverse_version() > 0) {
      absl::StrAppendFormat(&text, "  inverses %d steps old", run_.curvature.inverse_age_steps());
    }
    return text;
  }

  const AutoencoderMethod& method_;
  const AutoencoderTraining& training_;
  const v1::CreateSessionRequest request_;
  const Client* client_ = nullptr;
  std::vector<std::unique_ptr<ChildProcess>> workers_;
  std::string last_words_;
  AutoencoderRun run_;
  uint64_t version_ = 0;
  uint64_t num_steps_ = 1;
  std::optional<Progress> progress_;
};

}  // namespace

double AutoencoderRun::LossAfter(uint64_t epoch) const {
  for (const EpochLine& line : epochs) {
    if (line.epoch == epoch) return line.loss;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

absl::StatusOr<AutoencoderRun> TrainAutoencoder(const AutoencoderMethod& method,
                                                const AutoencoderTraining& training) {
  return Trainer(method, training).Run();
}

AutoencoderMethod MomentumMethod(double learning_rate) {
  return {absl::StrFormat("momentum, rate %g", learning_rate), learning_rate, 1,
          [](v1::SessionConfig& config) {
            v1::Momentum& momentum = *config.mutable_optimizer()->mutable_momentum();
            momentum.set_dialect(v1::DIALECT_TORCH);
            momentum.set_beta(0.9);
          }};
}

AutoencoderMethod AdamMethod(double learning_rate) {
  return {absl::StrFormat("Adam, rate %g", learning_rate), learning_rate, 1,
          [](v1::SessionConfig& config) {
            config.mutable_optimizer()->mutable_adam()->set_epsilon(1e-4);
          }};
}

AutoencoderMethod KfacMethod(const std::vector<size_t>& widths, uint64_t num_workers,
                             bool synchronous) {
  const std::string name =
      absl::StrCat("K-FAC, ", num_workers, num_workers == 1 ? " worker, " : " workers, ",
                   synchronous ? "synchronous" : "background");
  const size_t num_layers = widths.size() - 1;
  return {
      name, 1, num_workers, [num_layers, synchronous](v1::SessionConfig& config) {
        v1::Kfac& kfac = *config.mutable_optimizer()->mutable_kfac();
        kfac.set_damping(3);
        kfac.set_pi(v1::PI_RULE_OFF);
        kfac.set_statistics_decay(0.9);
        kfac.set_starts_with_first(true);
        kfac.set_beta(0.9);
        kfac.set_refresh(synchronous ? v1::REFRESH_MODE_SYNCHRONOUS : v1::REFRESH_MODE_BACKGROUND);
        kfac.set_refresh_every(20);
        kfac.set_refresh_each_until(20);
        // Workers and server share all cores, so that little time is left over for a refresh; and
        // from about 30 steps on this training diverges with its rate of 1.
        if (!synchronous) kfac.set_max_inverse_age(25);
        for (size_t layer = 0; layer < num_layers; ++layer) {
          v1::Layer& named = *config.add_layers();
          named.set_weight(AutoencoderShape::weights_name(layer));
          named.set_bias(AutoencoderShape::biases_name(layer));
        }
      }};
}

}  // namespace talweg
