// SPDX-License-Identifier: Apache-2.0
//
// Early return of errors, which this Abseil lacks.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns the status from the enclosing function if `expression` is not OK.
#define TALWEG_RETURN_IF_ERROR(expression)           \
  do {                                               \
    absl::Status talweg_status_ = (expression);      \
    if (!talweg_status_.ok()) return talweg_status_; \
  } while (false)

#define TALWEG_CONCAT_INNER(a, b) a##b
#define TALWEG_CONCAT(a, b) TALWEG_CONCAT_INNER(a, b)

// Declares or assigns `target` from a StatusOr, or returns its error from the enclosing function.
#define TALWEG_ASSIGN_OR_RETURN(target, expression) \
  TALWEG_ASSIGN_OR_RETURN_INNER(TALWEG_CONCAT(talweg_or_, __LINE__), target, expression)
#define TALWEG_ASSIGN_OR_RETURN_INNER(temporary, target, expression) \
  auto temporary = (expression);                                     \
  if (!temporary.ok()) return std::move(temporary).status();         \
  target = *std::move(temporary)
