// SPDX-License-Identifier: Apache-2.0
//
// Provokes the reasons that concern fields, configurations and initial values.
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/conformance/reasons_test.h"
#include "tests/support/wire_client.h"

namespace talweg::testing {

void ReasonsTest::ProvokeUnknownFields() {
  // FIELD_UNKNOWN: a newer client's field, deep inside.
  v1::StepRequest request = Next();
  v1::ContributionHeader& header = *request.mutable_header();
  header.GetReflection()->MutableUnknownFields(&header)->AddVarint(4000, 1);
  Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_UNKNOWN", "header.4000");
  v1::CreateSessionRequest create = VectorSession("x", 3, "adam");
  v1::Adam& adam = *create.mutable_config()->mutable_optimizer()->mutable_adam();
  adam.GetReflection()->MutableUnknownFields(&adam)->AddFixed32(99, 1);
  Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "FIELD_UNKNOWN",
         "config.optimizer.adam.99");
}

void ReasonsTest::ProvokeMissingFields() {
  // FIELD_REQUIRED
  v1::StepRequest request = Next();
  request.clear_header();
  Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_REQUIRED", "header");
  for (const char* field : {"session_id", "history", "worker", "incarnation", "sequence"}) {
    request = Next();
    v1::ContributionHeader& header = *request.mutable_header();
    header.GetReflection()->ClearField(&header, header.GetDescriptor()->FindFieldByName(field));
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_REQUIRED",
           std::string("header.") + field);
  }
  v1::CreateSessionRequest create = VectorSession("x", 3);
  create.mutable_config()->mutable_schedule()->clear_learning_rate();
  Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "FIELD_REQUIRED",
         "config.schedule.learning_rate");
  create = VectorSession("x", 3);
  create.mutable_config()->clear_optimizer();
  Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "FIELD_REQUIRED", "config.optimizer");
  create = VectorSession("x", 3);
  create.clear_initial_values();
  Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "FIELD_REQUIRED", "initial_values");
}

void ReasonsTest::ProvokeValuesOutOfRange() {
  {  // FIELD_OUT_OF_RANGE
    v1::StepRequest request = Next();
    request.mutable_header()->set_worker("no spaces");
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE", "header.worker");
    request = Next();
    for (int count = 0; count < 17; ++count) request.mutable_header()->add_losses(1);
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE", "header.losses");
    request = Next();
    for (int count = 0; count < 1000000; ++count) request.add_sections();
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE", "sections");
    request = Next();
    request.mutable_reply()->set_data(static_cast<v1::ReplyData>(77));
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE", "reply.data");
    v1::PullRequest pull;
    pull.set_session_id("s");
    pull.set_begin_element(kElements + 1);
    std::vector<float> values;
    Expect(wire_->Pull(pull, &values), Code::INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE",
           "begin_element");
    Expect(Update("optimizer.adam.beta7", [](auto&) {}), Code::INVALID_ARGUMENT,
           "FIELD_OUT_OF_RANGE", "update_mask.paths[0]");
  }
  {  // FIELD_OUT_OF_RANGE: what belongs to the other shape of the call
    v1::StepRequest request = Next();
    request.mutable_reply()->set_checksums(true);
    Expect(wire_->Step(request), Code::INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE", "reply.checksums");
    request.mutable_reply()->clear_checksums();
    request.mutable_reply()->set_max_reply_bytes(1 << 20);
    WireStream stream(wire_->training());
    ASSERT_TRUE(stream.WriteHeader(request));
    EXPECT_FALSE(stream.ReadGrant());
    Expect(stream.Finish(), Code::INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE",
           "header.reply.max_reply_bytes");
  }
}

void ReasonsTest::ProvokeLiveChanges() {
  // FIELD_IMMUTABLE
  Expect(
      Update("optimizer.adam.amsgrad",
             [](auto& config) { config.mutable_optimizer()->mutable_adam()->set_amsgrad(true); }),
      Code::INVALID_ARGUMENT, "FIELD_IMMUTABLE", "config.optimizer.adam.amsgrad");
  Expect(
      Update("optimizer.momentum.beta",
             [](auto& config) { config.mutable_optimizer()->mutable_momentum()->set_beta(0.5); }),
      Code::INVALID_ARGUMENT, "FIELD_IMMUTABLE", "config.optimizer");
  Expect(Update("layout", [](auto& config) { config.mutable_layout(); }), Code::INVALID_ARGUMENT,
         "FIELD_IMMUTABLE", "update_mask.paths[0]");
  // HYPERPARAMETER_OUT_OF_RANGE
  Expect(Update("optimizer.adam.beta1",
                [](auto& config) { config.mutable_optimizer()->mutable_adam()->set_beta1(1); }),
         Code::INVALID_ARGUMENT, "HYPERPARAMETER_OUT_OF_RANGE", "config.optimizer.adam.beta1");
  {
    v1::CreateSessionRequest create = VectorSession("x", 3);
    create.mutable_config()->mutable_schedule()->set_learning_rate(std::nan(""));
    Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "HYPERPARAMETER_OUT_OF_RANGE",
           "config.schedule.learning_rate");
  }
}

void ReasonsTest::ProvokeLayouts() {
  // LAYOUT_INVALID
  v1::CreateSessionRequest create = VectorSession("x", 3);
  create.mutable_config()->mutable_layout()->clear_tensors();
  Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "LAYOUT_INVALID", "config.layout.tensors");
  create = VectorSession("x", 3);
  create.mutable_config()->mutable_layout()->mutable_tensors(0)->add_shape(uint64_t{1} << 63);
  Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "LAYOUT_INVALID",
         "config.layout.tensors[0].shape");
}

void ReasonsTest::ProvokeInitialValues() {
  // INITIAL_VALUES_INVALID
  v1::CreateSessionRequest create = VectorSession("x", 3);
  v1::InitialValueRule& idle = *create.mutable_initial_values()->mutable_seeded()->add_rules();
  idle.set_tensors("v");
  idle.mutable_constant();
  Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "INITIAL_VALUES_INVALID",
         "initial_values.seeded.rules[1].tensors");
  create = VectorSession("x", 3);
  v1::Section& section = *create.mutable_initial_values()->mutable_uploaded();
  section.set_kind(v1::SECTION_KIND_PARAMETERS);
  section.set_data(Bytes({1, std::nanf(""), 3}));
  Expect(wire_->Create(create), Code::INVALID_ARGUMENT, "INITIAL_VALUES_INVALID",
         "initial_values.uploaded.data");
}

void ReasonsTest::ProvokeUploads() {
  const v1::CreateSessionRequest create = UploadOf(VectorSession("x", 3));
  {  // what CreateSession refuses, before a value is sent
    v1::CreateSessionRequest bad = create;
    bad.clear_request_id();
    Expect(WireUpload(wire_->sessions(), bad).Finish(), Code::INVALID_ARGUMENT, "FIELD_REQUIRED",
           "create.request_id");
    bad = VectorSession("x", 3);
    Expect(WireUpload(wire_->sessions(), bad).Finish(), Code::INVALID_ARGUMENT,
           "FIELD_OUT_OF_RANGE", "create.initial_values");
    bad = create;
    bad.mutable_config()->mutable_layout()->clear_tensors();
    Expect(WireUpload(wire_->sessions(), bad).Finish(), Code::INVALID_ARGUMENT, "LAYOUT_INVALID",
           "create.config.layout.tensors");
    bad = create;
    bad.set_session_id("s");
    Expect(WireUpload(wire_->sessions(), bad).Finish(), Code::ALREADY_EXISTS, "SESSION_EXISTS");
    bad = UploadOf(VectorSession("big", uint64_t{1} << 38));
    Expect(WireUpload(wire_->sessions(), bad).Finish(), Code::RESOURCE_EXHAUSTED, "MEMORY_QUOTA");
  }
  {  // INITIAL_VALUES_INVALID
    WireUpload upload(wire_->sessions(), create);
    ASSERT_EQ(upload.ReadGrant(), 0u);
    upload.WriteChunk(0, v1::DTYPE_FLOAT32, Bytes({1, std::nanf(""), 3}));
    Expect(upload.Finish(), Code::INVALID_ARGUMENT, "INITIAL_VALUES_INVALID", "chunk.section.data");
  }
  {  // CHUNK_CORRUPT, of the whole
    WireUpload upload(wire_->sessions(), create);
    ASSERT_EQ(upload.ReadGrant(), 0u);
    upload.WriteChunk(0, v1::DTYPE_FLOAT32, Bytes({1, 2, 3}));
    upload.WriteCommit(1);
    Expect(upload.Finish(), Code::DATA_LOSS, "CHUNK_CORRUPT", "commit.crc32c");
  }
  {  // UPLOAD_TAKEN_OVER
    WireUpload older(wire_->sessions(), create);
    ASSERT_EQ(older.ReadGrant(), 0u);
    WireUpload newer(wire_->sessions(), create);
    ASSERT_EQ(newer.ReadGrant(), 0u);
    Expect(older.Finish(), Code::ABORTED, "UPLOAD_TAKEN_OVER");
  }
  {  // UPLOAD_EXPIRED
    const auto hasty = StartServer({.upload_patience = absl::Milliseconds(50)});
    WireClient other(hasty->address());
    WireUpload upload(other.sessions(), create);
    ASSERT_EQ(upload.ReadGrant(), 0u);
    Expect(upload.Finish(), Code::ABORTED, "UPLOAD_EXPIRED");
  }
}

}  // namespace talweg::testing
