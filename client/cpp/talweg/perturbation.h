// SPDX-License-Identifier: Apache-2.0
//
// The points that a lease names: the parameters, moved by a perturbation that is drawn from the
// seed (proto/NOISE.md, core/noise/perturbation.h).
#pragma once

#include "core/noise/perturbation.h"
#include "talweg/v1/search_service.pb.h"
#include "talweg/v1/session.pb.h"

namespace talweg {

// What the pairs of `lease` are drawn by, in a session of this layout. It is the same for all
// leases of a session.
core::Perturbation PerturbationOf(const v1::Layout& layout, const v1::EvaluationLease& lease);

}  // namespace talweg
