// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/autoencoder/autoencoder_worker.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/experiments/autoencoder/image_batches.h"
#include "client/experiments/autoencoder/parallel_autoencoder.h"
#include "client/experiments/mnist/mnist_batches.h"
#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/mnist/network.h"
#include "client/experiments/mnist/network_session.h"
#include "client/experiments/runs/stream_seed.h"

namespace talweg {
namespace {

constexpr size_t kTestBatch = 1000;  // images that the loss is evaluated on at a time

class Worker {
 public:
  Worker(const MnistSet& images, const std::vector<size_t>& widths, bool has_layers,
         const AutoencoderWorkerOptions& options, Session& session, std::ostream& out)
      : images_(images),
        options_(options),
        has_layers_(has_layers),
        session_(session),
        out_(out),
        network_(widths, options.num_threads),
        random_(StreamSeed(options.seed, options.worker, 0)),
        parameters_(network_.shape().num_parameters()),
        gradient_(parameters_.size()) {}

  absl::Status Run() {
    absl::Status status = session_.Pull(absl::MakeSpan(parameters_)).status();
    if (status.ok() && session_.version() == 0) Test(0);
    begin_ = absl::Now();
    if (status.ok() && has_layers_ && options_.first_pass && session_.version() == 0) {
      status = FirstPass();
    }
    const uint64_t steps_an_epoch = images_.size() / options_.batch_size;
    while (status.ok() && !has_diverged_ &&
           session_.version() < steps_an_epoch * options_.num_epochs) {
      if (options_.stop && options_.stop()) break;
      const uint64_t step = session_.version();
      status = Step(step / steps_an_epoch, step % steps_an_epoch);
      if (status.ok() && session_.version() % steps_an_epoch == 0) {
        Test(session_.version() / steps_an_epoch);
      }
    }
    out_ << absl::StrFormat("worked %.3f %.3f\n", absl::ToDoubleSeconds(computing_),
                            absl::ToDoubleSeconds(waiting_))
         << std::flush;
    return status;
  }

 private:
  // This worker's images of a batch.
  absl::Span<const float> ImagesOf(uint64_t epoch, uint64_t batch) {
    if (order_.empty() || epoch != epoch_) {
      order_ = Numbers(images_.size());
      std::mt19937_64 random(StreamSeed(options_.seed, "batches", epoch));
      Shuffle(random, order_);
      epoch_ = epoch;
    }
    const absl::Span<const uint32_t> whole =
        absl::MakeConstSpan(order_).subspan(batch * options_.batch_size, options_.batch_size);
    const uint64_t begin = options_.index * whole.size() / options_.num_workers;
    const uint64_t end = (options_.index + 1) * whole.size() / options_.num_workers;
    FillImages(images_, whole.subspan(begin, end - begin), inputs_);
    return inputs_;
  }

  Statistics StatisticsNow() {
    network_.SampledDerivatives(random_);
    const AutoencoderShape& shape = network_.shape();
    Statistics statistics;
    statistics.num_samples = inputs_.size() / shape.widths().front();
    statistics.dtype = options_.statistics_dtype;
    for (size_t layer = 0; layer < shape.num_layers(); ++layer) {
      statistics.layers.push_back({AutoencoderShape::weights_name(layer), statistics.num_samples,
                                   network_.inputs(layer), network_.derivatives(layer)});
    }
    return statistics;
  }

  // Statistics of all images at the first parameters, so that the factors begin with the whole set.
  absl::Status FirstPass() {
    for (uint64_t batch = 0; batch < images_.size() / options_.batch_size; ++batch) {
      if (options_.stop && options_.stop()) return absl::OkStatus();
      const absl::Time begin = absl::Now();
      network_.Evaluate(parameters_, ImagesOf(0, batch));
      const Statistics statistics = StatisticsNow();
      const absl::Time computed = absl::Now();
      const absl::Status sent = session_.SendStatistics(statistics).status();
      if (!sent.ok()) return sent;
      Note(begin, computed);
    }
    return absl::OkStatus();
  }

  absl::Status Step(uint64_t epoch, uint64_t batch) {
    const absl::Time begin = absl::Now();
    const double loss =
        network_.Gradient(parameters_, ImagesOf(epoch, batch), absl::MakeSpan(gradient_));
    Statistics statistics;
    StepOptions step;
    const size_t num_images = inputs_.size() / network_.shape().widths().front();
    step.weight = static_cast<float>(num_images);
    if (has_layers_) {
      statistics = StatisticsNow();
      step.statistics = &statistics;
    }
    const absl::Time computed = absl::Now();
    const absl::StatusOr<StepResult> result =
        session_.Step(gradient_, absl::MakeSpan(parameters_), {loss}, step);
    Note(begin, computed);
    if (!result.ok()) return result.status();
    if (result->applied()) return absl::OkStatus();
    if (result->verdict == v1::VERDICT_REJECTED_NON_FINITE) {
      has_diverged_ = true;
      out_ << kDivergedLine << "\n" << std::flush;
      return absl::OkStatus();
    }
    return absl::InternalError(
        absl::StrCat("a gradient got ", v1::Verdict_Name(result->verdict), " ", result->advice));
  }

  void Note(absl::Time begin, absl::Time computed) {
    computing_ += computed - begin;
    waiting_ += absl::Now() - computed;
  }

  void Test(uint64_t epoch) {
    if (options_.index != 0) return;
    const absl::Time begin = absl::Now();
    const std::vector<uint32_t> all = Numbers(images_.size());
    double sum = 0;
    std::vector<float> inputs;
    for (size_t first = 0; first < all.size(); first += kTestBatch) {
      const size_t size = std::min(kTestBatch, all.size() - first);
      FillImages(images_, absl::MakeConstSpan(all).subspan(first, size), inputs);
      sum += network_.Evaluate(parameters_, inputs) * static_cast<double>(size);
    }
    testing_ += absl::Now() - begin;
    const absl::Duration trained =
        epoch == 0 ? absl::ZeroDuration() : absl::Now() - begin_ - testing_;
    out_ << FormatEpochLine(
                {epoch, sum / static_cast<double>(all.size()), absl::ToDoubleSeconds(trained)})
         << "\n"
         << std::flush;
    if (epoch == 0) testing_ = absl::ZeroDuration();
  }

  const MnistSet& images_;
  const AutoencoderWorkerOptions& options_;
  const bool has_layers_;
  Session& session_;
  std::ostream& out_;
  ParallelAutoencoder network_;
  std::mt19937_64 random_;
  std::vector<float> parameters_, gradient_, inputs_;
  std::vector<uint32_t> order_;
  uint64_t epoch_ = 0;  // of `order_`
  bool has_diverged_ = false;
  absl::Time begin_;
  absl::Duration computing_, waiting_, testing_;
};

}  // namespace

absl::Status RunAutoencoderWorker(const Client& client, const AutoencoderWorkerOptions& options,
                                  std::ostream& out) {
  const absl::StatusOr<MnistData> data = FindAndLoadMnist(options.data_dir);
  if (!data.ok()) return data.status();
  const uint64_t num_images = data->train.size();
  if (options.batch_size < 1 || options.batch_size > num_images) {
    return absl::InvalidArgumentError(absl::StrCat("a batch has 1 to ", num_images, " images"));
  }
  if (options.num_workers < 1 || options.num_workers > options.batch_size ||
      options.index >= options.num_workers) {
    return absl::InvalidArgumentError("each worker needs an image of each batch");
  }
  const absl::StatusOr<v1::Session> found = client.GetSession(options.session_id);
  if (!found.ok()) return found.status();
  const absl::StatusOr<std::vector<size_t>> widths = WidthsOf(found->config().layout());
  if (!widths.ok()) return widths.status();
  if (widths->front() != MnistSet::kPixels || widths->back() != MnistSet::kPixels) {
    return absl::InvalidArgumentError("the session's network is no autoencoder of MNIST");
  }
  SetNumBlasThreads(1);
  absl::StatusOr<Session> session = client.Join(options.session_id, options.worker);
  if (!session.ok()) return session.status();
  const bool has_layers = found->config().layers_size() > 0;
  const absl::Status worked =
      Worker(data->train, *widths, has_layers, options, *session, out).Run();
  const std::string reason = ReasonOf(worked);
  if (reason == "SESSION_DELETED" || reason == "SESSION_NOT_FOUND") return absl::OkStatus();
  if (!worked.ok() && !(options.stop && options.stop())) return worked;
  // If this fails, the lease runs out by itself.
  session->Leave().IgnoreError();
  return absl::OkStatus();
}

std::string FormatEpochLine(const EpochLine& line) {
  return absl::StrFormat("epoch %d %.6f %.3f", line.epoch, line.loss, line.seconds);
}

std::optional<EpochLine> ParseEpochLine(absl::string_view line) {
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
  EpochLine parsed;
  if (words.size() != 4 || words[0] != "epoch" || !absl::SimpleAtoi(words[1], &parsed.epoch) ||
      !absl::SimpleAtod(words[2], &parsed.loss) || !absl::SimpleAtod(words[3], &parsed.seconds)) {
    return std::nullopt;
  }
  return parsed;
}

}  // namespace talweg
