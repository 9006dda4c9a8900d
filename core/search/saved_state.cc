// SPDX-License-Identifier: Apache-2.0
//
// A search as bytes.
#include <utility>

#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/members/saved_member.h"
#include "core/search/search_machine.h"

namespace talweg::core {
namespace {

// The first format of a state that may have a search.
constexpr uint32_t kReportFormat = 4;

void WriteOptional(const std::optional<double>& value, ByteWriter& writer) {
  writer.Byte(value.has_value() ? 1 : 0);
  writer.Double(value.value_or(0));
}

absl::Status ReadOptional(ByteReader& reader, std::optional<double>& value) {
  uint8_t present = 0;
  double number = 0;
  TALWEG_RETURN_IF_ERROR(reader.Byte(present));
  TALWEG_RETURN_IF_ERROR(reader.Double(number));
  if (present != 0) value = number;
  return absl::OkStatus();
}

// A report without numbers of a search has none here either: there was no step yet.
void WriteNumbers(const StepReport* report, ByteWriter& writer) {
  if (report == nullptr) return;
  const SearchNumbers& numbers = *report->search;
  for (const uint32_t count : {numbers.generation, numbers.num_pairs, numbers.num_counted,
                               numbers.num_dropped, numbers.num_non_finite, numbers.num_ties}) {
    writer.Uint32(count);
  }
  for (const double number :
       {numbers.loss_mean, numbers.loss_deviation, numbers.loss_min, numbers.loss_max,
        static_cast<double>(numbers.sigma), numbers.weight_norm}) {
    writer.Double(number);
  }
  WriteOptional(numbers.evaluated_loss, writer);
  WriteOptional(numbers.signal_to_noise, writer);
  WriteOptional(numbers.gradient_learning_rate, writer);
  writer.Uint64(numbers.num_examples);
  writer.Byte(numbers.accepted.has_value() ? (*numbers.accepted ? 2 : 1) : 0);
}

absl::Status ReadNumbers(ByteReader& reader, std::shared_ptr<const StepReport>& report) {
  if (report == nullptr) return absl::OkStatus();
  SearchNumbers numbers;
  for (uint32_t* count : {&numbers.generation, &numbers.num_pairs, &numbers.num_counted,
                          &numbers.num_dropped, &numbers.num_non_finite, &numbers.num_ties}) {
    TALWEG_RETURN_IF_ERROR(reader.Uint32(*count));
  }
  double sigma = 0;
  for (double* number : {&numbers.loss_mean, &numbers.loss_deviation, &numbers.loss_min,
                         &numbers.loss_max, &sigma, &numbers.weight_norm}) {
    TALWEG_RETURN_IF_ERROR(reader.Double(*number));
  }
  numbers.sigma = static_cast<float>(sigma);
  uint8_t accepted = 0;
  TALWEG_RETURN_IF_ERROR(ReadOptional(reader, numbers.evaluated_loss));
  TALWEG_RETURN_IF_ERROR(ReadOptional(reader, numbers.signal_to_noise));
  TALWEG_RETURN_IF_ERROR(ReadOptional(reader, numbers.gradient_learning_rate));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(numbers.num_examples));
  TALWEG_RETURN_IF_ERROR(reader.Byte(accepted));
  if (accepted > 2) return UnknownKindError();
  if (accepted > 0) numbers.accepted = accepted == 2;
  auto whole = std::make_shared<StepReport>(*report);
  whole->search = std::make_shared<const SearchNumbers>(numbers);
  report = std::move(whole);
  return absl::OkStatus();
}

}  // namespace

void SearchMachine::Save(ByteWriter& writer) const {
  TALWEG_CHECK(!closed_.has_value());
  writer.Uint64(history_);
  writer.Uint64(version_);
  WriteReport(last_step_, kReportFormat, writer);
  WriteNumbers(last_step_.get(), writer);
  writer.Uint32(open_->number());
  open_->Save(writer);
  writer.Uint64(num_workers());
  for (const uint32_t index : workers_.table().Sorted()) {
    WriteIdentity(workers_[index], writer);
    WriteRoles(workers_[index].roles, writer);
    WriteNonces(workers_[index], writer);
  }
}

absl::Status SearchMachine::Load(ByteReader& reader, absl::Time now, uint64_t history) {
  SearchMachine loaded(1, configuration_);
  loaded.now_ = now;
  loaded.opened_ = now;
  uint32_t number = 0;
  uint64_t num_workers = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(loaded.history_));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(loaded.version_));
  TALWEG_RETURN_IF_ERROR(ReadReport(reader, kReportFormat, loaded.last_step_));
  TALWEG_RETURN_IF_ERROR(ReadNumbers(reader, loaded.last_step_));
  TALWEG_RETURN_IF_ERROR(reader.Uint32(number));
  loaded.open_ = std::make_unique<Generation>(number, loaded.version_, configuration_.search);
  TALWEG_RETURN_IF_ERROR(loaded.open_->Load(reader, now));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(num_workers));
  // There may be more workers than are allowed by now.
  if (loaded.history_ == 0 || number == 0) {
    return MakeError(Reason::kStateCorrupt, "state has no history or no generation");
  }
  for (uint64_t each = 0; each < num_workers; ++each) {
    TALWEG_ASSIGN_OR_RETURN(const uint32_t index, ReadIdentity(reader, loaded.workers_.table()));
    Searcher& worker = loaded.workers_[index];
    TALWEG_RETURN_IF_ERROR(ReadRoles(reader, worker.roles));
    TALWEG_RETURN_IF_ERROR(ReadNonces(reader, worker));
    loaded.workers_.Restore(index, loaded.Rules());
  }
  if (history != 0) loaded.history_ = history;
  *this = std::move(loaded);
  return absl::OkStatus();
}

}  // namespace talweg::core
