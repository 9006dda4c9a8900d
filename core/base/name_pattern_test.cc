// SPDX-License-Identifier: Apache-2.0
#include "core/base/name_pattern.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

TEST(NamePatternTest, MatchesAsTheTableSays) {
  const struct {
    absl::string_view pattern;
    absl::string_view name;
    bool matches;
  } rows[] = {
      {"w", "w", true},
      {"w", "W", false},
      {"w", "ww", false},
      {"", "", true},
      {"", "w", false},
      {"*", "", true},
      {"*", "layers.0.weight", true},
      {"**", "w", true},
      {"*.bias", "layers.0.bias", true},
      {"*.bias", ".bias", true},
      {"*.bias", "bias", false},
      {"*.bias", "layers.0.bias.old", false},
      {"layers.*", "layers.", true},
      {"layers.*", "layer.0", false},
      {"layers.*.weight", "layers.0.weight", true},
      {"layers.*.weight", "layers.0.sub.weight", true},
      {"layers.*.weight", "layers.weight", false},
      {"a*b*c", "abbc", true},
      {"a*b*c", "acb", false},
      {"*ab", "aab", true},
      {"*aab", "aaab", true},
      {"a?c", "abc", false},
      {"a?c", "a?c", true},
      {"[ab]", "a", false},
      {"a.c", "abc", false},
      {"*a*", "bbb", false},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(MatchesPattern(row.pattern, row.name), row.matches)
        << "\"" << row.pattern << "\" and \"" << row.name << "\"";
  }
}

// The definition, straight: a star takes any prefix of what is left.
bool BruteForce(absl::string_view pattern, absl::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*') {
    for (size_t taken = 0; taken <= name.size(); ++taken) {
      if (BruteForce(pattern.substr(1), name.substr(taken))) return true;
    }
    return false;
  }
  return !name.empty() && pattern[0] == name[0] && BruteForce(pattern.substr(1), name.substr(1));
}

// Every text of up to `longest` characters of `alphabet`.
std::vector<std::string> AllTexts(const std::string& alphabet, size_t longest) {
  std::vector<std::string> texts = {""};
  for (size_t begin = 0, size = 1; size <= longest; ++size) {
    const size_t end = texts.size();
    for (; begin < end; ++begin) {
      for (const char c : alphabet) texts.push_back(texts[begin] + c);
    }
  }
  return texts;
}

TEST(NamePatternTest, AgreesWithBruteForceOnEveryShortText) {
  const std::vector<std::string> names = AllTexts("ab", 6);
  size_t matches = 0;
  for (const std::string& pattern : AllTexts("ab*", 6)) {
    for (const std::string& name : names) {
      const bool expected = BruteForce(pattern, name);
      matches += expected;
      ASSERT_EQ(MatchesPattern(pattern, name), expected) << pattern << " and " << name;
    }
  }
  EXPECT_GT(matches, 10000u);
}

TEST(NamePatternTest, ManyStarsDoNotExplode) {
  // With a search that comes back to every star this would not end.
  std::string pattern;
  for (int i = 0; i < 100; ++i) pattern += "*a";
  EXPECT_FALSE(MatchesPattern(pattern + "b", std::string(256, 'a')));
  EXPECT_TRUE(MatchesPattern(pattern, std::string(256, 'a')));
}

Layout LayoutOf(const std::vector<std::string>& names) {
  std::vector<TensorSpec> tensors;
  tensors.reserve(names.size());
  for (const std::string& name : names) tensors.push_back({name, {}});
  return *Layout::Create(std::move(tensors));
}

void ExpectRefused(const Layout& layout, const std::vector<absl::string_view>& patterns,
                   absl::string_view field) {
  const absl::Status status =
      MatchTensors(layout, patterns, Reason::kInitialValuesInvalid, "rules").status();
  EXPECT_EQ(ReasonName(status), "INITIAL_VALUES_INVALID") << status;
  EXPECT_EQ(FieldName(status), field) << status;
}

TEST(MatchTensorsTest, FirstPatternTakesTheTensor) {
  const Layout layout = LayoutOf({"a.w", "a.b", "c.w", "c.b", "d"});
  const auto matches =
      MatchTensors(layout, {"a.w", "*.b", "a*", "c*"}, Reason::kFieldOutOfRange, "groups");
  // "a*" comes too late for either of its tensors.
  EXPECT_EQ(FieldName(matches.status()), "groups[2].tensors");
  EXPECT_EQ(ReasonName(matches.status()), "FIELD_OUT_OF_RANGE");
  const auto good = MatchTensors(layout, {"a.w", "*.b", "c*"}, Reason::kFieldOutOfRange, "groups");
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_EQ(*good, (std::vector<size_t>{0, 1, 2, 1, kNoPattern}));
  EXPECT_EQ(*MatchTensors(layout, {}, Reason::kFieldOutOfRange, "groups"),
            std::vector<size_t>(5, kNoPattern));
}

TEST(MatchTensorsTest, BadPatternsAreNamed) {
  const Layout layout = LayoutOf({"a", "b"});
  ExpectRefused(layout, {"a", ""}, "rules[1].tensors");
  const std::string longest(Layout::kMaxNameBytes, '*');
  EXPECT_TRUE(MatchTensors(layout, {longest}, Reason::kFieldOutOfRange, "rules").ok());
  ExpectRefused(layout, {"a", longest + "*"}, "rules[1].tensors");
  ExpectRefused(layout, {"a", "b", "c"}, "rules[2].tensors");
  ExpectRefused(layout, std::vector<absl::string_view>(kMaxPatterns + 1, "a"), "rules");
}

// What a large model asks for is answered; what would take minutes is refused before it begins.
TEST(MatchTensorsTest, TimeIsBoundedAndLargeModelsAreNot) {
  std::vector<std::string> names;
  std::vector<std::string> texts;
  for (int layer = 0; layer < 500; ++layer) {
    texts.push_back(absl::StrCat("model.layers.", layer, ".*"));
    for (int part = 0; part < 20; ++part) {
      names.push_back(absl::StrCat("model.layers.", layer, ".self_attention.projection", part));
    }
  }
  const Layout layout = LayoutOf(names);
  const std::vector<absl::string_view> patterns(texts.begin(), texts.end());
  const auto matches = MatchTensors(layout, patterns, Reason::kFieldOutOfRange, "groups");
  ASSERT_TRUE(matches.ok()) << matches.status();
  for (size_t tensor = 0; tensor < names.size(); ++tensor)
    ASSERT_EQ((*matches)[tensor], tensor / 20);
  for (std::string& text : texts) text = absl::StrCat("*", text);
  ExpectRefused(layout, {texts.begin(), texts.end()}, "rules");
}

}  // namespace
}  // namespace talweg::core
