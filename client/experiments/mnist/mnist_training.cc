// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/mnist_training.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/experiments/mnist/mnist_batches.h"
#include "client/experiments/mnist/network_session.h"
#include "client/experiments/mnist/parallel_gradient.h"
#include "client/experiments/runs/own_session.h"
#include "client/terminal/progress.h"

namespace talweg {
namespace {

constexpr size_t kWidths[] = {MnistSet::kPixels, 512, 512, 10};
constexpr double kShownLossWindow = 50;  // steps

v1::CreateSessionRequest MakeRequest(const MnistMethod& method, uint64_t num_steps, uint64_t seed) {
  v1::CreateSessionRequest request;
  request.set_session_id(OwnSessionId(absl::StrCat("mnist-", method.name)));
  v1::SessionConfig& config = *request.mutable_config();
  SetNetwork(kWidths, seed, request);
  method.set(*config.mutable_optimizer());
  v1::Schedule& schedule = *config.mutable_schedule();
  schedule.set_learning_rate(method.learning_rate);
  schedule.set_warmup_steps(
      static_cast<uint64_t>(method.warmup_share * static_cast<double>(num_steps)));
  schedule.mutable_cosine()->set_total_steps(num_steps);
  return request;
}

// The loop around one session.
class Trainer {
 public:
  Trainer(const MnistData& data, const MnistMethod& method, const MnistTraining& training,
          Session& session)
      : data_(data),
        training_(training),
        session_(session),
        network_({std::begin(kWidths), std::end(kWidths)}, training.num_threads),
        batch_size_(method.batch_size),
        steps_an_epoch_(data.train.size() / batch_size_),
        point_(network_.num_parameters()),
        parameters_(network_.num_parameters()),
        gradient_(network_.num_parameters()) {
    run_.method = std::string(method.name);
    run_.batch_size = batch_size_;
    run_.learning_rate = method.learning_rate;
    if (training.progress != nullptr) {
      progress_.emplace(training.progress, IsTerminal(training.progress),
                        absl::StrFormat("%-16s", method.name),
                        steps_an_epoch_ * static_cast<uint64_t>(training.num_epochs));
    }
  }

  absl::StatusOr<MnistRun> Run() {
    const absl::Time start = absl::Now();
    PullOptions options;
    options.point = v1::POINT_LOOKAHEAD;
    absl::Status status = session_.Pull(absl::MakeSpan(point_), options).status();
    std::mt19937_64 random(training_.seed);
    std::vector<uint32_t> order = Numbers(data_.train.size());
    for (int epoch = 0; status.ok() && epoch < training_.num_epochs; ++epoch) {
      Shuffle(random, order);
      status = Epoch(order, start);
    }
    run_.wall_seconds = absl::ToDoubleSeconds(absl::Now() - start);
    if (progress_) progress_->Finish(run_.num_steps, Detail());
    if (!status.ok()) return status;
    const size_t last = run_.losses.size() - steps_an_epoch_;
    run_.final_loss = std::accumulate(run_.losses.begin() + last, run_.losses.end(), 0.0) /
                      static_cast<double>(steps_an_epoch_);
    return run_;
  }

 private:
  absl::Status Epoch(absl::Span<const uint32_t> order, absl::Time start) {
    for (uint64_t i = 0; i < steps_an_epoch_; ++i) {
      if (training_.stop && training_.stop()) return absl::CancelledError("stopped");
      batch_.Fill(data_.train, order.subspan(i * batch_size_, batch_size_));
      const absl::Status status = Step();
      if (!status.ok()) return status;
      const absl::Time now = absl::Now();
      run_.wall_seconds = absl::ToDoubleSeconds(now - start);
      if (progress_ && progress_->Due(now)) progress_->Draw(run_.num_steps, Detail(), now);
    }
    return Test();
  }

  // Accuracy of the parameters, which are not where gradients are taken with every method.
  absl::Status Test() {
    const absl::Status pulled = session_.Pull(absl::MakeSpan(parameters_)).status();
    if (!pulled.ok()) return pulled;
    run_.test_accuracy.push_back(Accuracy(network_, parameters_, data_.test));
    return absl::OkStatus();
  }

  // One gradient to the server; back comes where it wants the next one.
  absl::Status Step() {
    const BatchResult result =
        network_.Gradient(point_, batch_.inputs, batch_.labels, absl::MakeSpan(gradient_));
    StepOptions options;
    options.point = v1::POINT_LOOKAHEAD;
    const absl::Time sent = absl::Now();
    const absl::StatusOr<StepResult> step =
        session_.Step(gradient_, absl::MakeSpan(point_), {result.loss}, options);
    run_.server_seconds += absl::ToDoubleSeconds(absl::Now() - sent);
    if (!step.ok()) return step.status();
    if (!step->applied()) {
      return absl::InternalError(absl::StrCat("step ", run_.num_steps + 1, " of ", run_.method,
                                              " got ", v1::Verdict_Name(step->verdict)));
    }
    run_.losses.push_back(result.loss);
    ++run_.num_steps;
    run_.epochs.push_back(static_cast<double>(run_.num_steps) /
                          static_cast<double>(steps_an_epoch_));
    const double weight =
        1 / std::min<double>(kShownLossWindow, static_cast<double>(run_.num_steps));
    shown_loss_ += weight * (result.loss - shown_loss_);
    return absl::OkStatus();
  }

  std::string Detail() const {
    std::string accuracy = "-";
    if (!run_.test_accuracy.empty()) {
      accuracy = absl::StrFormat("%.2f %%", 100 * run_.test_accuracy.back());
    }
    const double rate =
        run_.wall_seconds > 0 ? static_cast<double>(run_.num_steps) / run_.wall_seconds : 0;
    return absl::StrFormat("loss %.4f  test %s  %.0f steps/s", shown_loss_, accuracy, rate);
  }

  const MnistData& data_;
  const MnistTraining& training_;
  Session& session_;
  ParallelGradient network_;
  const uint64_t batch_size_;
  const uint64_t steps_an_epoch_;
  std::vector<float> point_;  // where the coming gradient is taken
  std::vector<float> parameters_;
  std::vector<float> gradient_;
  MnistBatch batch_;
  MnistRun run_;
  double shown_loss_ = 0;
  std::optional<Progress> progress_;
};

}  // namespace

absl::StatusOr<MnistRun> TrainMnist(const Client& client, const MnistData& data,
                                    const MnistMethod& method, const MnistTraining& training) {
  const uint64_t num_steps =
      data.train.size() / method.batch_size * static_cast<uint64_t>(training.num_epochs);
  const v1::CreateSessionRequest request = MakeRequest(method, num_steps, training.seed);
  absl::StatusOr<MnistRun> run = absl::UnknownError("not run");
  const absl::Status status = InOwnSession(client, request, [&](Session& session) {
    run = Trainer(data, method, training, session).Run();
    return run.status();
  });
  if (!status.ok()) return status;
  return run;
}

}  // namespace talweg
