// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/generation_stream.h"

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "server/rpc/grpc_call.h"
#include "server/wire/config_from_proto.h"
#include "server/wire/search_to_proto.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

// At every time exactly one of three has the turn: the pool (WriteNext), gRPC (during a write) or
// the line of those who wait for a version. Only the one that has the turn may end the call.
class GenerationStream final : public grpc::ServerWriteReactor<v1::WatchGenerationsResponse> {
 public:
  GenerationStream(const ServiceContext& context, const grpc::CallbackServerContext& grpc)
      : pool_(context.pool),
        grpc_(grpc),
        call_(context.door, FactsOf("talweg.v1.SearchService/WatchGenerations", grpc)) {}

  void Start(const v1::WatchGenerationsRequest& request) {
    absl::StatusOr<std::shared_ptr<SessionHost>> host = call_.Enter(request, request.session_id());
    if (!host.ok()) return End(host.status());
    host_ = *std::move(host);
    follow_ = request.follow();
    last_ = request.after_version();
    const absl::Status status = Check(request.history());
    if (!status.ok()) return End(status);
    until_ = CurrentVersion();
    pool_.Post([this] { WriteNext(); });
  }

  void OnCancel() override {
    // If the call does not wait, its next write fails.
    wait_->cancelled = true;
    if (host_ != nullptr && host_->versions().Forget(wait_->place)) EndCancelled();
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return EndCancelled();
    pool_.Post([this] { WriteNext(); });
  }
  void OnDone() override {
    call_.Over(grpc_.IsCancelled());
    delete this;
  }

 private:
  // The wait for the next version. The thread that begins it does not have the turn any more, so
  // that the stream may be gone.
  struct Wait {
    std::atomic<uint64_t> place = 0;  // in the line
    std::atomic<bool> cancelled = false;
  };

  void Await() {
    const std::shared_ptr<Wait> wait = wait_;
    const std::shared_ptr<SessionHost> host = host_;
    wait->place = host->versions().AwaitOrFinish(last_ + 1, [this](const absl::Status& reached) {
      if (!reached.ok()) return End(reached);
      pool_.Post([this] { WriteNext(); });
    });
    // The reader may have gone before the place was known. The one that takes it has the turn.
    if (wait->cancelled && host->versions().Forget(wait->place)) EndCancelled();
  }

  void EndCancelled() { End(absl::CancelledError("the reader has gone")); }
  void End(const absl::Status& status) { Finish(Ending(call_, status)); }

  uint64_t CurrentVersion() const { return host_->versions().reached(); }

  absl::Status Check(uint64_t history) const {
    if (history != 0) {
      absl::Status current = host_->CheckHistory(history);
      if (!current.ok()) return current;
    }
    if (!host_->searches()) {
      return MakeError(Reason::kWrongMethod, "the session is trained by gradients, not by search");
    }
    if (last_ <= CurrentVersion()) return absl::OkStatus();
    return MakeError(
        Reason::kVersionAhead,
        absl::StrCat("after_version is ", last_, ", the session is at ", CurrentVersion()),
        "after_version");
  }

  static absl::Status Deleted() {
    return MakeError(Reason::kSessionDeleted, "the session was deleted");
  }
  absl::Status Gone() const {
    const std::string current = absl::StrCat(CurrentVersion());
    return MakeError(
        Reason::kVersionGone,
        absl::StrCat("the generation that made version ", last_ + 1,
                     " is not kept any more, the session is at ", current, ": pull the parameters"),
        "after_version",
        {{"history", absl::StrCat(host_->identity().history)}, {"version", current}});
  }

  void WriteNext() {
    if (host_->deleted()) return End(Deleted());
    // A generation is kept before its version is visible, and told after that.
    std::optional<ClosedGeneration> next;
    if (last_ < CurrentVersion()) {
      next = host_->generations().Of(last_ + 1);
      if (!next.has_value()) return End(host_->deleted() ? Deleted() : Gone());
    }
    if (!next.has_value() && told_anything_) {
      if (!follow_ || last_ < until_ || host_->versions().finished()) return End(absl::OkStatus());
      return Await();
    }
    if (next.has_value() && !follow_ && last_ >= until_ && told_anything_) {
      return End(absl::OkStatus());
    }
    message_.Clear();
    message_.set_history(host_->identity().history);
    message_.set_version(CurrentVersion());
    if (next.has_value()) {
      *message_.mutable_record() = GenerationRecordToProto(*next->record);
      if (next->record->config_version != config_version_) {
        *message_.mutable_config() = ConfigToProto(*next->config);
        config_version_ = next->record->config_version;
      }
      last_ = next->record->version;
    }
    told_anything_ = true;
    call_.CountOut(message_.ByteSizeLong());
    StartWrite(&message_);
  }

  ComputePool& pool_;
  const grpc::CallbackServerContext& grpc_;
  Call call_;
  std::shared_ptr<SessionHost> host_;
  bool follow_ = false;
  uint64_t last_ = 0;            // the last version that was told
  uint64_t until_ = 0;           // the version when the stream began
  uint64_t config_version_ = 0;  // that was told last
  bool told_anything_ = false;
  const std::shared_ptr<Wait> wait_ = std::make_shared<Wait>();
  v1::WatchGenerationsResponse message_;
};

}  // namespace

grpc::ServerWriteReactor<v1::WatchGenerationsResponse>* StartGenerationStream(
    const ServiceContext& context, const grpc::CallbackServerContext& grpc,
    const v1::WatchGenerationsRequest& request) {
  auto* stream = new GenerationStream(context, grpc);
  stream->Start(request);
  return stream;
}

}  // namespace talweg::server
