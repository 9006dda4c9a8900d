// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/training_service.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "server/rpc/grpc_call.h"
#include "server/rpc/training_stream.h"
#include "server/wire/outgoing_vector.h"
#include "server/wire/point_from_proto.h"
#include "server/wire/section_codec.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

constexpr uint64_t kPullBytes = 1 << 20;

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
    if (request.begin_element() > host_->num_elements()) {
      return End(MakeError(Reason::kFieldOutOfRange,
                           absl::StrCat("begin_element is ", request.begin_element(),
                                        ", the layout has ", host_->num_elements(), " elements"),
                           "begin_element"));
    }
    const absl::StatusOr<PointOnWire> wanted = PointFromProto(request.point());
    if (!wanted.ok()) return End(wanted.status());
    const absl::StatusOr<core::Dtype> dtype = DtypeFromProto(request.dtype(), "dtype");
    if (!dtype.ok()) return End(dtype.status());
    checksums_ = request.checksums();
    next_element_ = request.begin_element();
    if (request.has_version()) pinned_ = request.version();
    if (pinned_.has_value() && request.min_version() != 0) {
      return End(MakeError(Reason::kFieldOutOfRange,
                           "min_version does not go with version, which names the one wanted",
                           "min_version"));
    }
    if (pinned_.has_value() && wanted->point == core::Session::Point::kParameters) {
      // Perhaps another reader still holds that version.
      if (std::shared_ptr<const core::Parameters> held = host_->Held(*pinned_)) {
        vector_ = OutgoingVector({std::move(held), true, 0}, wanted->kind, *dtype);
        return Begin();
      }
    }
    place_ = host_->versions().Await(
        request.min_version(),
        [this, wanted = *wanted, dtype = *dtype](const absl::Status& reached) {
          if (!reached.ok()) return End(reached);
          Read(wanted, dtype);
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
    if (next_element_ == vector_.num_elements()) return End(absl::OkStatus());
    pool_.Post([this] { WriteNext(); });
  }

  void OnDone() override {
    call_.Over(grpc_.IsCancelled());
    delete this;
  }

 private:
  void Read(const PointOnWire& wanted, core::Dtype dtype) {
    host_->Read(wanted.point,
                [this, kind = wanted.kind, dtype](const absl::StatusOr<PointOutcome>& point) {
                  if (!point.ok()) return End(point.status());
                  vector_ = OutgoingVector(*point, kind, dtype);
                  next_learning_rate_ = point->next_learning_rate;
                  Begin();
                });
  }

  void Begin() {
    const uint64_t history = host_->identity().history;
    const core::ErrorMetadata current = {{"history", absl::StrCat(history)},
                                         {"version", absl::StrCat(vector_.version())}};
    if (pinned_.has_value() && *pinned_ != vector_.version()) {
      return End(MakeError(
          Reason::kVersionGone,
          absl::StrCat("version ", *pinned_, " is not held, the session is at ", vector_.version()),
          "version", current));
    }
    pool_.Post([this] { WriteNext(); });
  }

  void WriteNext() {
    if (host_->deleted()) {
      return End(MakeError(Reason::kSessionDeleted, "the session was deleted"));
    }
    const uint64_t num_elements = vector_.num_elements();
    const uint64_t count =
        std::min(kPullBytes / vector_.element_bytes(), num_elements - next_element_);
    message_.set_history(host_->identity().history);
    message_.set_version(vector_.version());
    message_.set_num_elements(num_elements);
    message_.set_next_learning_rate(next_learning_rate_);
    v1::Section& section = *message_.mutable_section();
    vector_.Open(next_element_, count, section);
    vector_.Write(next_element_, count, section.mutable_data()->data());
    if (checksums_) message_.set_crc32c(core::Crc32c(section.data()));
    next_element_ += count;
    call_.CountOut(message_.ByteSizeLong());
    StartWrite(&message_);
  }

  ComputePool& pool_;
  const grpc::CallbackServerContext& grpc_;
  Call call_;
  std::shared_ptr<SessionHost> host_;
  OutgoingVector vector_;
  double next_learning_rate_ = 0;
  bool checksums_ = false;
  std::optional<uint64_t> pinned_;
  uint64_t place_ = 0;  // in the line for a version
  uint64_t next_element_ = 0;
  v1::PullResponse message_;
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
