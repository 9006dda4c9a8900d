// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/training_service.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "server/rpc/grpc_call.h"
#include "server/rpc/training_stream.h"
#include "server/wire/pull_from_proto.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

// Streams one version, one message at a time. Each message is made on the pool when the message
// before has gone out, so a slow reader costs one message and holds one version.
class PullReactor final : public grpc::ServerWriteReactor<v1::PullResponse> {
 public:
  PullReactor(const ServiceContext& context, const grpc::CallbackServerContext& grpc)
      : pool_(context.pool),
        grpc_(grpc),
        call_(context.door, FactsOf("talweg.v1.TrainingService/Pull", grpc)) {}

  Call& call() { return call_; }

  void End(const absl::Status& status) { Finish(Ending(call_, status)); }

  void Start(std::shared_ptr<SessionHost> host, const v1::PullRequest& request) {
    host_ = std::move(host);
    if (request.history() != 0) {
      const absl::Status current = host_->CheckHistory(request.history());
      if (!current.ok()) return End(current);
    }
    absl::StatusOr<PullSpec> spec = PullFromProto(request, host_->num_elements());
    if (!spec.ok()) return End(spec.status());
    spec_ = *std::move(spec);
    if (spec_.version.has_value() && spec_.wanted.point == core::Session::Point::kParameters) {
      // Perhaps another reader still holds that version.
      if (std::shared_ptr<const core::Parameters> held = host_->Held(*spec_.version)) {
        return Begin({std::move(held), true, 0});
      }
    }
    place_ = host_->versions().Await(spec_.min_version, [this](const absl::Status& reached) {
      if (!reached.ok()) return End(reached);
      host_->Read(spec_.wanted.point, [this](const absl::StatusOr<PointOutcome>& point) {
        if (!point.ok()) return End(point.status());
        Begin(*point);
      });
    });
  }

  void OnCancel() override {
    // If the call does not wait, its next write fails.
    if (host_ != nullptr && host_->versions().Forget(place_)) {
      End(absl::CancelledError("the reader has gone"));
    }
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return End(absl::CancelledError("the reader has gone"));
    if (was_last_) return End(absl::OkStatus());
    pool_.Post([this] { WriteNext(); });
  }

  void OnDone() override {
    call_.Over(grpc_.IsCancelled());
    delete this;
  }

 private:
  void Begin(const PointOutcome& point) {
    const uint64_t history = host_->identity().history;
    messages_ = PullMessages(point, history, spec_);
    if (spec_.version.has_value() && *spec_.version != messages_.version()) {
      return End(MakeError(
          Reason::kVersionGone,
          absl::StrCat("version ", *spec_.version, " is not held, the session is at ",
                       messages_.version()),
          "version",
          {{"history", absl::StrCat(history)}, {"version", absl::StrCat(messages_.version())}}));
    }
    pool_.Post([this] { WriteNext(); });
  }

  void WriteNext() {
    if (host_->deleted()) {
      return End(MakeError(Reason::kSessionDeleted, "the session was deleted"));
    }
    was_last_ = messages_.MakeNext(message_);
    call_.CountOut(message_.ByteSizeLong());
    StartWrite(&message_);
  }

  ComputePool& pool_;
  const grpc::CallbackServerContext& grpc_;
  Call call_;
  std::shared_ptr<SessionHost> host_;
  PullSpec spec_;
  uint64_t place_ = 0;  // in the line for a version
  PullMessages messages_;
  v1::PullResponse message_;
  bool was_last_ = false;  // whether `message_` is the last one
};

}  // namespace

TrainingService::TrainingService(ServiceContext context) : context_(context) {
  SetMessageAllocatorFor_Step(&step_messages_);
}

grpc::ServerUnaryReactor* TrainingService::Step(grpc::CallbackServerContext* context,
                                                const v1::StepRequest* request,
                                                v1::StepResponse* response) {
  return StartUnaryStep(context_, *context, *request, *response);
}

grpc::ServerBidiReactor<v1::StreamStepRequest, v1::StreamStepResponse>* TrainingService::StreamStep(
    grpc::CallbackServerContext* context) {
  return StartTrainingStream(context_, *context);
}

grpc::ServerWriteReactor<v1::PullResponse>* TrainingService::Pull(
    grpc::CallbackServerContext* context, const v1::PullRequest* request) {
  auto* reactor = new PullReactor(context_, *context);
  absl::StatusOr<std::shared_ptr<SessionHost>> host =
      reactor->call().Enter(*request, request->session_id());
  if (host.ok()) {
    reactor->Start(*std::move(host), *request);
  } else {
    reactor->End(host.status());
  }
  return reactor;
}

}  // namespace talweg::server
