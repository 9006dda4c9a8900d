// SPDX-License-Identifier: Apache-2.0
//
// A watcher's stream over gRPC: the output of a Watch. For session_service.cc alone, which sees
// gRPC.
#pragma once

#include <memory>
#include <utility>

#include "server/rpc/grpc_call.h"
#include "server/rpc/service_context.h"
#include "server/rpc/watch_session.h"
#include "talweg/v1/session_service.grpc.pb.h"

namespace talweg::server {

// Deletes itself when the call is over.
class WatchReactor final : public grpc::ServerWriteReactor<v1::WatchSessionResponse>,
                           public Watch::Output {
 public:
  WatchReactor(const Door& door, grpc::CallbackServerContext& context, WatchList& watches)
      : context_(context),
        call_(door, FactsOf("talweg.v1.SessionService/WatchSession", context)),
        watches_(watches) {}

  Call& call() { return call_; }

  // Ends the call instead of starting it.
  void Fail(const absl::Status& status) { End(status); }

  void Start(const SessionHost& host, const v1::WatchSessionRequest& request,
             const ServiceContext& context) {
    watch_ = std::make_shared<Watch>(host.feed(), host.identity().history, request,
                                     context.stop.gate, context.pool, *this);
    watches_.Add(watch_);
    watch_->Start();
  }

  void OnWriteDone(bool ok) override { watch_->Written(ok); }
  void OnCancel() override {
    if (watch_ != nullptr) watch_->Cancelled();
  }
  void OnDone() override {
    if (watch_ != nullptr) watches_.Remove(watch_);
    call_.Over(context_.IsCancelled());
    delete this;
  }

 private:
  void Write(const v1::WatchSessionResponse& message) override {
    call_.CountOut(message.ByteSizeLong());
    StartWrite(&message);
  }
  void Cut() override { context_.TryCancel(); }
  void End(const absl::Status& status) override { Finish(Ending(call_, status)); }

  grpc::CallbackServerContext& context_;
  Call call_;
  WatchList& watches_;
  std::shared_ptr<Watch> watch_;
};

}  // namespace talweg::server
