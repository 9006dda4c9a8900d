// SPDX-License-Identifier: Apache-2.0
#include "server/wire/names.h"

#include <string>

#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

TEST(CheckNameTest, TakesLettersDigitsDotsDashesAndUnderscores) {
  EXPECT_TRUE(CheckName("a", "worker").ok());
  EXPECT_TRUE(CheckName("9", "worker").ok());
  EXPECT_TRUE(CheckName("Run-7_b.c", "worker").ok());
}

TEST(CheckNameTest, MissingNameIsRequiredAndNamed) {
  const absl::Status status = CheckName("", "header.worker");
  EXPECT_EQ(core::ReasonName(status), "FIELD_REQUIRED");
  EXPECT_EQ(core::FieldName(status), "header.worker");
}

TEST(CheckNameTest, LengthEndsAt128) {
  EXPECT_TRUE(CheckName(std::string(128, 'x'), "worker").ok());
  const absl::Status status = CheckName(std::string(129, 'x'), "worker");
  EXPECT_EQ(core::ReasonName(status), "FIELD_OUT_OF_RANGE");
  EXPECT_EQ(core::FieldName(status), "worker");
}

TEST(CheckNameTest, FirstCharacterIsALetterOrADigit) {
  for (const char* name : {".a", "-a", "_a", ".", "..", "-"}) {
    EXPECT_EQ(core::ReasonName(CheckName(name, "worker")), "FIELD_OUT_OF_RANGE") << name;
  }
}

TEST(CheckNameTest, EveryOtherByteIsRefused) {
  const std::string allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  for (int byte = 0; byte < 256; ++byte) {
    const std::string name = std::string("a") + static_cast<char>(byte);
    const bool expected = allowed.find(static_cast<char>(byte)) != std::string::npos;
    EXPECT_EQ(CheckName(name, "worker").ok(), expected) << byte;
  }
}

TEST(CheckRequestIdTest, HasAtMost128BytesOfAnyKind) {
  EXPECT_TRUE(CheckRequestId("", "request_id").ok());
  EXPECT_TRUE(CheckRequestId(std::string(128, '\xff'), "request_id").ok());
  const absl::Status status = CheckRequestId(std::string(129, 'x'), "nonce");
  EXPECT_EQ(core::ReasonName(status), "FIELD_OUT_OF_RANGE");
  EXPECT_EQ(core::FieldName(status), "nonce");
  EXPECT_EQ(status.message(), "nonce has 129 bytes, allowed: 0 to 128");
}

}  // namespace
}  // namespace talweg::server
