// SPDX-License-Identifier: Apache-2.0
#include "core/base/name_pattern.h"

#include <string>
#include <vector>

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

}  // namespace
}  // namespace talweg::core
