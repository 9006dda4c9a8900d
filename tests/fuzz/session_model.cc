// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/session_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/checksum.h"
#include "core/base/dtype.h"
#include "core/base/reasons.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/unknown_field_set.h"

namespace talweg::testing {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

core::Dtype DtypeOf(v1::Dtype dtype) {
  if (dtype == v1::DTYPE_BFLOAT16) return core::Dtype::kBfloat16;
  return dtype == v1::DTYPE_FLOAT16 ? core::Dtype::kFloat16 : core::Dtype::kFloat32;
}

void AddUnknownFields(const Message& message, const std::string& prefix, Complaints& wrong) {
  const auto& reflection = *message.GetReflection();
  const auto& unknown = reflection.GetUnknownFields(message);
  if (!unknown.empty()) {
    wrong.insert({"FIELD_UNKNOWN", absl::StrCat(prefix, unknown.field(0).number())});
  }
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->message_type() == nullptr) continue;
    if (!field->is_repeated()) {
      AddUnknownFields(reflection.GetMessage(message, field), prefix + field->name() + ".", wrong);
      continue;
    }
    for (int index = 0; index < reflection.FieldSize(message, field); ++index) {
      AddUnknownFields(reflection.GetRepeatedMessage(message, field, index),
                       absl::StrCat(prefix, field->name(), "[", index, "]."), wrong);
    }
  }
}

bool IsContributed(v1::SectionKind kind) {
  return kind == v1::SECTION_KIND_GRADIENT || kind == v1::SECTION_KIND_DIFFERENCE;
}

// Kind, dtype and the like; `prefix` ends with a dot.
void AddAboutSection(const v1::Section& section, const std::string& prefix, Complaints& wrong) {
  if (!IsContributed(section.kind())) {
    wrong.insert({"SECTION_UNEXPECTED", prefix + "kind"});
  }
  if (!v1::Dtype_IsValid(section.dtype())) wrong.insert({"SECTION_UNEXPECTED", prefix + "dtype"});
  if (section.values_size() > 0 &&
      (!section.data().empty() || section.dtype() > v1::DTYPE_FLOAT32)) {
    wrong.insert({"SECTION_UNEXPECTED", prefix + "values"});
  }
  if (section.data().size() % core::DtypeBytes(DtypeOf(section.dtype())) != 0) {
    wrong.insert({"SECTION_SIZE_MISMATCH", prefix + "data"});
  }
}

uint64_t CountIn(const v1::Section& section) {
  if (section.values_size() > 0) return section.values_size();
  return section.data().size() / core::DtypeBytes(DtypeOf(section.dtype()));
}

void AddAboutName(const std::string& name, const std::string& field, Complaints& wrong) {
  const auto is_alnum = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  if (name.empty()) {
    wrong.insert({"FIELD_REQUIRED", field});
  } else if (name.size() > 128 || !is_alnum(name[0]) ||
             !std::all_of(name.begin(), name.end(), [&](char c) {
               return is_alnum(c) || c == '.' || c == '_' || c == '-';
             })) {
    wrong.insert({"FIELD_OUT_OF_RANGE", field});
  }
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

float WeightOf(const v1::ContributionHeader& header) {
  return header.has_weight() ? header.weight() : 1;
}

// Whether a repeat agrees in everything that it must agree in, NaNs by their bits.
bool SamePayload(const v1::ContributionHeader& a, const v1::ContributionHeader& b) {
  return a.base_version() == b.base_version() && WeightOf(a) == WeightOf(b) &&
         a.closes_round() == b.closes_round() && a.abstain() == b.abstain() &&
         a.losses_size() == b.losses_size() &&
         (a.losses().empty() ||
          std::memcmp(a.losses().data(), b.losses().data(), a.losses_size() * sizeof(double)) == 0);
}

v1::Section SectionOf(v1::SectionKind kind, v1::Dtype dtype, const std::vector<float>& values) {
  v1::Section section;
  section.set_kind(kind);
  SetNumbers(values, dtype == v1::DTYPE_UNSPECIFIED ? v1::DTYPE_FLOAT32 : dtype, section);
  return section;
}

// Adds the data of an answer, and tells which of them the dtype does not reach.
void AddData(v1::SectionKind kind, v1::Dtype dtype, const std::vector<float>& values,
             v1::StepResponse& answer) {
  *answer.add_sections() = SectionOf(kind, dtype, values);
  const std::vector<float> sent = NumbersIn(answer.sections(0));
  for (size_t index = values.size(); index-- > 0;) {
    if (!std::isfinite(values[index]) || std::isfinite(sent[index])) continue;
    answer.set_num_overflowed(answer.num_overflowed() + 1);
    answer.set_first_overflowed(index);
  }
}

}  // namespace

Complaint ComplaintOf(const absl::Status& status) {
  return {core::ReasonName(status), core::FieldName(status)};
}

std::string JudgeAnswer(const Complaints& wrong, bool was_error, const Complaint& complaint) {
  if (!was_error) {
    if (wrong.empty()) return "";
    return absl::StrCat("taken, in spite of ", wrong.begin()->reason, " ", wrong.begin()->field);
  }
  if (wrong.contains(complaint)) return "";
  std::string due = wrong.empty() ? " where nothing is wrong" : ", due is";
  for (const auto& [reason, field] : wrong) absl::StrAppend(&due, " ", reason, "(", field, ")");
  return absl::StrCat("refused with ", complaint.reason, "(", complaint.field, ")", due);
}

void SetNumbers(const std::vector<float>& values, v1::Dtype dtype, v1::Section& section) {
  section.set_dtype(dtype);
  section.mutable_data()->resize(values.size() * core::DtypeBytes(DtypeOf(dtype)));
  core::FromFloat32(DtypeOf(dtype), values, section.mutable_data()->data());
}

std::vector<float> NumbersIn(const v1::Section& section) {
  std::vector<float> numbers(section.values().begin(), section.values().end());
  if (!numbers.empty()) return numbers;
  numbers.resize(CountIn(section));
  core::ToFloat32(DtypeOf(section.dtype()), section.data().data(), absl::MakeSpan(numbers));
  return numbers;
}

SentVector SentIn(const v1::Section& section) {
  return {NumbersIn(section), section.kind() == v1::SECTION_KIND_DIFFERENCE};
}

SentVector SentIn(const v1::StepRequest& request) {
  if (request.header().abstain()) return {{}, false, /*abstains=*/true};
  return SentIn(request.sections(0));
}

Complaints AboutFrame(const v1::StreamStepRequest& frame, bool open, const SentVector& sent,
                      uint64_t num_elements) {
  const uint64_t begin = sent.numbers.size();
  if (sent.abstains) num_elements = 0;
  Complaints wrong;
  AddUnknownFields(frame, "", wrong);
  if (frame.frame_case() == v1::StreamStepRequest::FRAME_NOT_SET) {
    wrong.insert({"FRAME_UNEXPECTED", "frame"});
  } else if (frame.has_header()) {
    if (open) wrong.insert({"FRAME_UNEXPECTED", "header"});
  } else if (!open) {
    wrong.insert({"FRAME_UNEXPECTED", frame.has_chunk() ? "chunk" : "commit"});
  } else if (frame.has_commit()) {
    if (begin != num_elements) wrong.insert({"CHUNK_MISPLACED", "commit"});
  } else if (sent.abstains) {
    wrong.insert({"FRAME_UNEXPECTED", "chunk"});
  } else if (!frame.chunk().has_section()) {
    wrong.insert({"FIELD_REQUIRED", "chunk.section"});
  } else {
    const v1::Section& section = frame.chunk().section();
    AddAboutSection(section, "chunk.section.", wrong);
    if (begin > 0 && sent.is_difference != (section.kind() == v1::SECTION_KIND_DIFFERENCE)) {
      wrong.insert({"SECTION_UNEXPECTED", "chunk.section.kind"});
    }
    const uint64_t count = CountIn(section);
    const uint64_t bytes =
        section.values_size() > 0 ? count * sizeof(float) : section.data().size();
    if (section.begin_element() != begin) {
      wrong.insert({"CHUNK_MISPLACED", "chunk.section.begin_element"});
    }
    if (count > num_elements - begin) wrong.insert({"CHUNK_MISPLACED", "chunk.section.data"});
    const bool is_last = count == num_elements - begin && count > 0;
    if (bytes > (uint64_t{4} << 20) || (!is_last && bytes < (uint64_t{256} << 10))) {
      wrong.insert({"FIELD_OUT_OF_RANGE", "chunk.section.data"});
    }
    if (frame.chunk().has_crc32c()) {
      const absl::string_view bits =
          section.values_size() > 0
              ? absl::string_view(reinterpret_cast<const char*>(section.values().data()), bytes)
              : absl::string_view(section.data());
      if (core::Crc32c(bits) != frame.chunk().crc32c()) {
        wrong.insert({"CHUNK_CORRUPT", "chunk.crc32c"});
      }
    }
  }
  return wrong;
}

void SessionModel::Join(uint64_t incarnation) {
  incarnation_ = incarnation;
  last_.reset();
}

v1::ContributionHeader SessionModel::NextHeader() const {
  v1::ContributionHeader header;
  header.set_session_id(session_id_);
  header.set_history(history_);
  header.set_worker("a");
  header.set_incarnation(incarnation_);
  header.set_sequence(last_.has_value() ? last_->header.sequence() + 1 : 1);
  header.set_base_version(version_);
  return header;
}

void SessionModel::AddAboutHeader(const v1::ContributionHeader& header, Taker taker,
                                  const std::string& prefix, Complaints& wrong) const {
  AddAboutName(header.session_id(), prefix + "session_id", wrong);
  AddAboutName(header.worker(), prefix + "worker", wrong);
  if (header.history() == 0) wrong.insert({"FIELD_REQUIRED", prefix + "history"});
  if (header.incarnation() == 0) wrong.insert({"FIELD_REQUIRED", prefix + "incarnation"});
  if (header.sequence() == 0) wrong.insert({"FIELD_REQUIRED", prefix + "sequence"});
  if (header.losses_size() > 16) wrong.insert({"FIELD_OUT_OF_RANGE", prefix + "losses"});
  if (!std::isfinite(WeightOf(header)) || WeightOf(header) <= 0) {
    wrong.insert({"FIELD_OUT_OF_RANGE", prefix + "weight"});
  }
  if (header.abstain() && header.has_weight()) {
    wrong.insert({"FIELD_OUT_OF_RANGE", prefix + "weight"});
  }
  if (header.abstain() && header.losses_size() > 0) {
    wrong.insert({"FIELD_OUT_OF_RANGE", prefix + "losses"});
  }
  if (header.session_id() != session_id_ && taker != Taker::kChecks) {
    wrong.insert({"SESSION_NOT_FOUND", ""});
  }
}

void SessionModel::AddAboutReply(const v1::ReplyOptions& reply, Taker taker,
                                 const std::string& prefix, Complaints& wrong) const {
  if (!v1::ReplyData_IsValid(reply.data())) {
    wrong.insert({"FIELD_OUT_OF_RANGE", prefix + "data"});
  }
  if (!v1::Dtype_IsValid(reply.dtype())) wrong.insert({"FIELD_OUT_OF_RANGE", prefix + "dtype"});
  if (taker == Taker::kStream && reply.max_reply_bytes() != 0) {
    wrong.insert({"FIELD_OUT_OF_RANGE", prefix + "max_reply_bytes"});
  }
  if (taker != Taker::kMessage) return;
  if (reply.checksums()) wrong.insert({"FIELD_OUT_OF_RANGE", prefix + "checksums"});
  const uint64_t allowed =
      reply.max_reply_bytes() == 0 ? uint64_t{4} << 20 : reply.max_reply_bytes();
  const uint64_t needed =
      num_elements() * core::DtypeBytes(DtypeOf(reply.dtype())) + kOverheadBytes;
  if (reply.data() != v1::REPLY_DATA_NONE && needed > allowed) {
    wrong.insert({"REPLY_TOO_LARGE", prefix + "max_reply_bytes"});
  }
}

Complaints SessionModel::AboutStep(const v1::StepRequest& request, Taker taker) const {
  Complaints wrong;
  if (taker == Taker::kMessage && request.sections_size() > 16) {
    // This comes before anything walks the sections: a message may hold millions of them.
    return {{"FIELD_OUT_OF_RANGE", "sections"}};
  }
  AddUnknownFields(request, "", wrong);
  if (!request.has_header()) wrong.insert({"FIELD_REQUIRED", "header"});
  AddAboutHeader(request.header(), taker, "header.", wrong);
  if (request.header().history() != history_) {
    // This comes before everything else that is wrong: a worker of another history may well have
    // another layout.
    wrong.insert({"HISTORY_CHANGED", ""});
    return wrong;
  }
  AddAboutReply(request.reply(), taker, "reply.", wrong);
  const bool abstains = request.header().abstain();
  if (request.sections().empty() == !abstains) {
    wrong.insert({abstains ? "SECTION_UNEXPECTED" : "SECTION_MISSING", "sections"});
  }
  for (int index = 0; index < request.sections_size(); ++index) {
    const v1::Section& section = request.sections(index);
    const std::string field = absl::StrCat("sections[", index, "]");
    if (index > 0 && IsContributed(section.kind())) {
      wrong.insert({"SECTION_REPEATED", field});
    }
    AddAboutSection(section, field + ".", wrong);
    if (section.begin_element() != 0) {
      wrong.insert({"SECTION_UNEXPECTED", field + ".begin_element"});
    }
    if (CountIn(section) != num_elements()) {
      wrong.insert(
          {"SECTION_SIZE_MISMATCH", field + (section.values_size() > 0 ? ".values" : ".data")});
    }
  }
  if (!wrong.empty()) return wrong;
  for (const Complaint& judged : AboutJudgement(request.header(), SentIn(request))) {
    wrong.insert({judged.reason, judged.field.empty() ? "" : "header." + judged.field});
  }
  return wrong;
}

Complaints SessionModel::AboutHeaderFrame(const v1::StreamStepRequest& frame, bool first,
                                          Taker taker) const {
  const v1::StreamHeader& header = frame.header();
  Complaints wrong;
  AddUnknownFields(frame, "", wrong);
  if (!header.has_header()) wrong.insert({"FIELD_REQUIRED", "header.header"});
  AddAboutHeader(header.header(), taker, "header.header.", wrong);
  if (taker == Taker::kStream && !first && wrong.erase({"SESSION_NOT_FOUND", ""}) > 0) {
    wrong.insert({"FIELD_OUT_OF_RANGE", "header.header.session_id"});
  }
  if (taker == Taker::kStream && header.header().history() != history_) {
    wrong.insert({"HISTORY_CHANGED", ""});
    return wrong;
  }
  AddAboutReply(header.reply(), taker, "header.reply.", wrong);
  return wrong;
}

Complaints SessionModel::AboutJudgement(const v1::ContributionHeader& header,
                                        const SentVector& sent) const {
  if (header.worker() != "a" || header.incarnation() > incarnation_) {
    return {{"WORKER_NOT_JOINED", ""}};
  }
  if (header.incarnation() < incarnation_) return {{"INCARNATION_FENCED", ""}};
  if (last_.has_value() && header.sequence() < last_->header.sequence()) {
    return {{"SEQUENCE_TOO_OLD", "sequence"}};
  }
  if (last_.has_value() && header.sequence() == last_->header.sequence()) {
    const bool same = SamePayload(header, last_->header) &&
                      sent.is_difference == last_->sent.is_difference &&
                      SameBits(sent.numbers, last_->sent.numbers);
    return same ? Complaints{} : Complaints{{"SEQUENCE_REUSED", "sequence"}};
  }
  if (header.base_version() > version_) return {{"VERSION_AHEAD", "base_version"}};
  if (header.closes_round() && mode_ == v1::AGGREGATION_MODE_SYNCHRONOUS) {
    return {{"FIELD_OUT_OF_RANGE", "closes_round"}};
  }
  return {};
}

v1::StepResponse SessionModel::Take(const v1::ContributionHeader& header,
                                    const v1::ReplyOptions& reply, const SentVector& sent) {
  const std::vector<float>& numbers = sent.numbers;
  v1::StepResponse answer;
  std::optional<std::vector<float>> update;
  if (last_.has_value() && header.sequence() == last_->header.sequence()) {
    answer = last_->answer;
    answer.set_replayed(true);
    answer.clear_fault();
  } else {
    answer.set_history(history_);
    answer.set_applied_version(version_);
    if (header.base_version() != version_ && !header.abstain()) {
      answer.set_verdict(mode_ == v1::AGGREGATION_MODE_SYNCHRONOUS ? v1::VERDICT_ROUND_CLOSED
                                                                   : v1::VERDICT_TOO_STALE);
    } else if (header.abstain()) {
      answer.set_verdict(v1::VERDICT_ABSTAINED);
      ++num_abstained_;
    } else if (const auto fault = std::find_if(numbers.begin(), numbers.end(),
                                               [](float value) { return !std::isfinite(value); });
               fault != numbers.end()) {
      answer.set_verdict(v1::VERDICT_REJECTED_NON_FINITE);
      answer.mutable_fault()->set_tensor("w");
      answer.mutable_fault()->set_element(static_cast<uint64_t>(fault - numbers.begin()));
      // Whether any of it came in float16 the model does not know.
      answer.mutable_fault()->set_may_have_overflowed(std::isinf(*fault));
    } else {
      answer.set_verdict(v1::VERDICT_APPLIED);
      answer.set_applied_version(++version_);
      v1::StepReport& report = *answer.mutable_report();
      report.set_learning_rate(kRate);
      report.set_clip_factor(1);
      report.set_contributors(1);
      report.set_total_weight(WeightOf(header));
      if (header.losses_size() > 0) report.set_loss(header.losses(0));
      report.set_num_abstained(num_abstained_);
      if (num_abstained_ > 0) report.add_abstained_workers("a");
      num_abstained_ = 0;
      update.emplace(parameters_.size());
      for (size_t index = 0; index < parameters_.size(); ++index) {
        const float before = parameters_[index];
        const float gradient = sent.is_difference ? -numbers[index] : numbers[index];
        average_[index] = 0.9f * average_[index] + 0.1f * gradient;
        parameters_[index] = before - 0.5f * average_[index];
        (*update)[index] = parameters_[index] - before;
      }
      for (size_t index = parameters_.size(); index-- > 0;) {
        if (std::isfinite(parameters_[index])) continue;
        report.set_num_non_finite(report.num_non_finite() + 1);
        report.set_first_non_finite(index);
      }
    }
    last_ = Judged{header, sent, answer};
  }
  answer.set_data_version(version_);
  answer.set_next_learning_rate(kRate);
  if (reply.data() == v1::REPLY_DATA_NONE) return answer;
  if (reply.data() == v1::REPLY_DATA_UPDATE && update.has_value()) {
    AddData(v1::SECTION_KIND_UPDATE, reply.dtype(), *update, answer);
  } else {
    AddData(v1::SECTION_KIND_PARAMETERS, reply.dtype(), parameters_, answer);
  }
  return answer;
}

std::string CompareAnswers(const v1::StepResponse& due, const v1::StepResponse& answer) {
  v1::StepResponse expected = due;
  if (expected.has_report()) {
    const v1::StepReport& report = answer.report();
    if (!(report.gradient_norm() >= 0)) return "a norm is none";
    expected.mutable_report()->set_gradient_norm(report.gradient_norm());
    expected.mutable_report()->set_update_norm(report.update_norm());
    // A mean of one: a NaN is a NaN, and the sign of a zero is nobody's.
    const double loss = expected.report().loss();
    if (report.has_loss() && expected.report().has_loss() &&
        (report.loss() == loss || (std::isnan(report.loss()) && std::isnan(loss)))) {
      expected.mutable_report()->set_loss(report.loss());
    }
  }
  if (expected.fault().may_have_overflowed()) {
    expected.mutable_fault()->set_may_have_overflowed(answer.fault().may_have_overflowed());
  }
  if (expected.verdict() == v1::VERDICT_TOO_STALE) {
    if (answer.advice().empty()) return "no advice";
    expected.set_advice(answer.advice());
  }
  if (expected.SerializeAsString() == answer.SerializeAsString()) return "";
  expected.clear_sections();
  v1::StepResponse got = answer;
  got.clear_sections();
  return absl::StrCat("another answer than the one due. Due: ", expected.ShortDebugString(),
                      " with ", due.sections_size(), " sections; came: ", got.ShortDebugString(),
                      " with ", answer.sections_size());
}

}  // namespace talweg::testing
