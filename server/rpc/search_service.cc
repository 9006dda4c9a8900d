// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/search_service.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "server/rpc/generation_stream.h"
#include "server/rpc/grpc_call.h"
#include "server/wire/search_from_proto.h"
#include "server/wire/search_to_proto.h"

namespace talweg::server {
namespace {

// An ask, which may wait. It deletes itself when it is over.
class AskReactor final : public grpc::ServerUnaryReactor {
 public:
  AskReactor(const Door& door, const grpc::CallbackServerContext& context,
             v1::AskResponse& response)
      : context_(context),
        call_(door, FactsOf("talweg.v1.SearchService/Ask", context)),
        response_(response) {}

  Call& call() { return call_; }

  void Start(std::shared_ptr<SessionHost> host, core::Ask ask) {
    host_ = std::move(host);
    // gRPC calls nothing of this object before the service has returned it.
    ticket_ = host_->Ask(std::move(ask), [this](const absl::StatusOr<AskOutcome>& outcome) {
      if (outcome.ok()) AskToProto(*outcome, response_);
      End(outcome.status());
    });
  }

  void End(const absl::Status& status) {
    if (status.ok()) call_.CountOut(response_.ByteSizeLong());
    Finish(Ending(call_, status));
  }

  void OnCancel() override {
    if (ticket_ != 0) host_->Abandon(ticket_);
  }
  void OnDone() override {
    call_.Over(context_.IsCancelled());
    delete this;
  }

 private:
  const grpc::CallbackServerContext& context_;
  Call call_;
  v1::AskResponse& response_;
  std::shared_ptr<SessionHost> host_;
  uint64_t ticket_ = 0;  // 0: the ask was not handed on
};

}  // namespace

grpc::ServerUnaryReactor* SearchService::Ask(grpc::CallbackServerContext* context,
                                             const v1::AskRequest* request,
                                             v1::AskResponse* response) {
  auto* reactor = new AskReactor(context_.door, *context, *response);
  absl::StatusOr<std::shared_ptr<SessionHost>> host =
      reactor->call().Enter(*request, request->session_id());
  if (!host.ok()) {
    reactor->End(host.status());
    return reactor;
  }
  absl::StatusOr<core::Ask> ask = AskFromProto(*request);
  if (ask.ok()) {
    reactor->Start(*std::move(host), *std::move(ask));
  } else {
    reactor->End(ask.status());
  }
  return reactor;
}

grpc::ServerUnaryReactor* SearchService::Tell(grpc::CallbackServerContext* context,
                                              const v1::TellRequest* request,
                                              v1::TellResponse* response) {
  auto* call = new UnaryCall(context_.door, "talweg.v1.SearchService/Tell", *context, *response);
  const auto host = call->call().Enter(*request, request->session_id());
  if (!host.ok()) return call->End(host.status());
  absl::StatusOr<core::Tell> tell = TellFromProto(*request);
  if (!tell.ok()) return call->End(tell.status());
  (*host)->Tell(*std::move(tell), [response, call](const absl::StatusOr<TellOutcome>& outcome) {
    if (outcome.ok()) TellToProto(*outcome, *response);
    call->End(outcome.status());
  });
  return call;
}

grpc::ServerWriteReactor<v1::WatchGenerationsResponse>* SearchService::WatchGenerations(
    grpc::CallbackServerContext* context, const v1::WatchGenerationsRequest* request) {
  return StartGenerationStream(context_, *context, *request);
}

}  // namespace talweg::server
