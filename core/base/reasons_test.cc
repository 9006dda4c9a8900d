// SPDX-License-Identifier: Apache-2.0
#include "core/base/reasons.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

TEST(ReasonsTest, EveryReasonIsARowWithAUniqueName) {
  std::set<absl::string_view> names;
  std::set<absl::string_view> meanings;
  size_t index = 0;
  for (const ReasonRow& row : Reasons()) {
    EXPECT_EQ(static_cast<size_t>(row.reason), index++) << row.name;
    EXPECT_EQ(&RowOf(row.reason), &row);
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_TRUE(meanings.insert(row.meaning).second) << row.meaning;
    EXPECT_NE(row.code, absl::StatusCode::kOk);
    ASSERT_FALSE(row.meaning.empty());
    EXPECT_EQ(row.meaning.back(), '.');
  }
  // The last of the enumeration has a row too.
  EXPECT_EQ(Reasons().back().reason, Reason::kStateCorrupt);
}

TEST(ReasonsTest, NamesAreUpperSnakeCase) {
  for (const ReasonRow& row : Reasons()) {
    for (const char c : row.name) {
      EXPECT_TRUE((c >= 'A' && c <= 'Z') || c == '_') << row.name;
    }
  }
}

TEST(ReasonsTest, AnErrorReadsBack) {
  for (const ReasonRow& row : Reasons()) {
    const absl::Status status = MakeError(row.reason, "got 1, expected 2", "a.b[3].c",
                                          {{"version", "17"}, {"expression", "x=y"}, {"e", ""}});
    EXPECT_EQ(status.code(), row.code);
    EXPECT_EQ(status.message(), "got 1, expected 2");
    EXPECT_EQ(ReasonName(status), row.name);
    EXPECT_EQ(FieldName(status), "a.b[3].c");
    EXPECT_EQ(MetadataOf(status),
              (ErrorMetadata{{"version", "17"}, {"expression", "x=y"}, {"e", ""}}));
  }
}

TEST(ReasonsTest, WhatIsNotThereReadsEmpty) {
  for (const absl::Status& status : {absl::OkStatus(), absl::InternalError("of somebody else"),
                                     MakeError(Reason::kDraining, "stopping")}) {
    EXPECT_EQ(FieldName(status), "");
    EXPECT_TRUE(MetadataOf(status).empty());
  }
  EXPECT_EQ(ReasonName(absl::OkStatus()), "");
  EXPECT_EQ(ReasonName(absl::InternalError("of somebody else")), "");
}

TEST(ReasonsTest, PrefixesPutAFieldIntoItsPlace) {
  const absl::Status inner =
      MakeError(Reason::kHyperparameterOutOfRange, "too large", "beta1", {{"limit", "1"}});
  const absl::Status outer = PrefixField(PrefixField(inner, "adam"), "config.optimizer");
  EXPECT_EQ(FieldName(outer), "config.optimizer.adam.beta1");
  EXPECT_EQ(ReasonName(outer), ReasonName(inner));
  EXPECT_EQ(outer.message(), inner.message());
  EXPECT_EQ(MetadataOf(outer), MetadataOf(inner));
}

TEST(ReasonsTest, PrefixesLeaveAnErrorWithoutAFieldAlone) {
  const absl::Status plain = MakeError(Reason::kDraining, "stopping");
  EXPECT_EQ(PrefixField(plain, "config"), plain);
  EXPECT_TRUE(PrefixField(absl::OkStatus(), "config").ok());
  EXPECT_EQ(PrefixField(absl::InternalError("x"), "config"), absl::InternalError("x"));
}

}  // namespace
}  // namespace talweg::core
