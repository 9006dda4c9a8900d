// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/evaluate_leases.h"

#include <optional>
#include <utility>

#include "client/cpp/talweg/perturbation.h"
#include "client/experiments/runs/own_session.h"

namespace talweg {
namespace {

size_t NumElements(const v1::Layout& layout) {
  size_t sum = 0;
  for (const v1::Tensor& tensor : layout.tensors()) {
    size_t product = 1;
    for (const uint64_t dimension : tensor.shape()) product *= dimension;
    sum += product;
  }
  return sum;
}

}  // namespace

absl::Status EvaluateLeases(Session& session, const v1::Layout& layout, const LeaseLoop& loop) {
  std::vector<float> parameters(NumElements(layout));
  std::optional<uint64_t> version;  // of `parameters`
  uint32_t generation = 0;          // for which they were pulled
  const auto pull = [&](v1::Point point, std::optional<uint64_t> wanted) -> absl::Status {
    PullOptions options;
    options.point = point;
    options.version = wanted;
    const absl::StatusOr<uint64_t> pulled = session.Pull(absl::MakeSpan(parameters), options);
    if (!pulled.ok()) return pulled.status();
    version = *pulled;
    return loop.see ? loop.see(*version, parameters) : absl::OkStatus();
  };
  std::optional<core::Perturbation> perturbation;
  for (;;) {
    if (loop.stop && loop.stop()) return absl::CancelledError("stopped");
    const absl::StatusOr<v1::AskResponse> answer = session.Ask(loop.capacity);
    if (!answer.ok()) return answer.status();
    if (answer->has_finished()) {
      return loop.see && version != answer->finished().version()
                 ? pull(v1::POINT_PARAMETERS, std::nullopt)
                 : absl::OkStatus();
    }
    const v1::EvaluationLease& lease = answer->lease();
    // A change of the rate moves the lookahead of a version.
    const bool moves = lease.point() != v1::POINT_PARAMETERS && generation != lease.generation();
    if (version != lease.version() || moves) {
      const absl::Status pulled = pull(lease.point(), lease.version());
      if (ReasonOf(pulled) == "VERSION_GONE") continue;  // others have closed the generation
      if (!pulled.ok()) return pulled;
      generation = lease.generation();
    }
    if (!perturbation) perturbation = PerturbationOf(layout, lease);
    std::vector<double> losses;
    const absl::Status evaluated = loop.evaluate({lease, *perturbation, parameters}, losses);
    if (!evaluated.ok()) return evaluated;
    v1::TellRequest told;
    told.set_generation(lease.generation());
    told.set_lease(lease.lease());
    told.set_first_pair(lease.first_pair());
    told.set_evaluate(lease.evaluate());
    told.mutable_double_losses()->Assign(losses.begin(), losses.end());
    told.set_num_examples(loop.num_examples * losses.size());
    const absl::StatusOr<v1::TellResponse> verdict = session.Tell(std::move(told));
    if (!verdict.ok()) return verdict.status();
  }
}

absl::Status SearchAlone(const Client& client, const v1::CreateSessionRequest& request,
                         LeaseLoop loop) {
  loop.capacity = request.config().search().num_pairs();
  return InOwnSession(client, request, [&](Session& session) {
    return EvaluateLeases(session, request.config().layout(), loop);
  });
}

EvaluateLease PointByPoint(
    std::function<double(absl::Span<const float> point, uint64_t data_seed)> loss) {
  return [loss = std::move(loss), point = std::vector<float>()](
             const LeasedWork& work, std::vector<double>& losses) mutable -> absl::Status {
    const v1::EvaluationLease& lease = work.lease;
    if (lease.differences() == v1::DIFFERENCES_DIRECTIONAL) {
      return absl::InvalidArgumentError("a derivative is not evaluated point by point");
    }
    if (lease.evaluate()) {
      losses.push_back(loss(work.parameters, lease.data_seed()));
      return absl::OkStatus();
    }
    point.resize(work.parameters.size());
    for (uint32_t i = 0; i < lease.num_pairs(); ++i) {
      const core::Draw draw = {lease.generation(), lease.first_pair() + i};
      for (const float sign : {1.0f, -1.0f}) {
        if (sign < 0 && lease.differences() != v1::DIFFERENCES_CENTRAL) continue;
        work.perturbation.Perturb(draw, sign * lease.sigma(), 0, work.parameters, point);
        losses.push_back(loss(point, lease.data_seed()));
      }
    }
    return absl::OkStatus();
  };
}

}  // namespace talweg
