// SPDX-License-Identifier: Apache-2.0
#include "client/cli/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace talweg {
namespace {

using ::testing::ElementsAre;

const std::vector<Flag> kFlags = {
    {"set", "FIELD=VALUE", "", /*repeatable=*/true}, {"json", "", ""}, {"rate", "NUMBER", ""}};

absl::StatusOr<Arguments> Parse(const std::vector<std::string>& words, size_t num_positionals = 1) {
  return Arguments::Parse(kFlags, num_positionals, words);
}

std::string Complaint(const absl::Status& status) {
  EXPECT_TRUE(IsUsageError(status)) << status;
  return std::string(status.message());
}

TEST(ArgumentsTest, TakesFlagsInEitherFormAnywhere) {
  const auto arguments = Parse({"--set", "beta1=0.9", "mlp", "--set=beta2=0.99", "--json"});
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->positional(0), "mlp");
  EXPECT_THAT(arguments->Texts("set"), ElementsAre("beta1=0.9", "beta2=0.99"));
  EXPECT_EQ(arguments->Text("set"), "beta2=0.99");
  EXPECT_TRUE(arguments->Has("json"));
  EXPECT_FALSE(arguments->Has("rate"));
  EXPECT_EQ(arguments->Text("rate", "otherwise"), "otherwise");
}

TEST(ArgumentsTest, DashesInsideAFlagAreUnderscores) {
  const auto arguments = Arguments::Parse({{"kill_every", "TIME", "", /*repeatable=*/true}}, 0,
                                          {"--kill-every=5s", "--kill_every", "a-b"});
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_THAT(arguments->Texts("kill_every"), ElementsAre("5s", "a-b"));
}

TEST(ArgumentsTest, SaysWhatIsWrong) {
  EXPECT_EQ(Complaint(Parse({"mlp", "--sett=1"}).status()), "no flag --sett");
  EXPECT_EQ(Complaint(Parse({"mlp", "--rate"}).status()), "--rate needs a value: NUMBER");
  EXPECT_EQ(Complaint(Parse({"mlp", "--json=1"}).status()), "--json takes no value");
  EXPECT_EQ(Complaint(Parse({}).status()), "too few arguments");
  EXPECT_EQ(Complaint(Parse({"a", "b"}).status()), "unexpected argument \"b\"");
}

TEST(ArgumentsTest, AFlagGivenTwiceIsAnErrorUnlessItMayBeRepeated) {
  EXPECT_EQ(Complaint(Parse({"mlp", "--rate", "1", "--rate=2"}).status()),
            "--rate is given twice: 1 and 2");
  EXPECT_EQ(Complaint(Parse({"mlp", "--rate=1", "--rate=1"}).status()),
            "--rate is given twice: 1 and 1");
  EXPECT_TRUE(Parse({"mlp", "--json", "--json"}).ok());  // says nothing new
}

TEST(ArgumentsTest, ReadsNumbers) {
  const auto arguments = Parse({"mlp", "--rate", "1e-3", "--set", "12"});
  EXPECT_EQ(arguments->Number("rate").value(), 1e-3);
  EXPECT_EQ(arguments->Whole("set").value(), 12u);
  EXPECT_EQ(arguments->Whole("json").value(), std::nullopt);
  EXPECT_EQ(Complaint(arguments->Whole("rate").status()),
            "--rate takes a whole number, not \"1e-3\"");
  EXPECT_TRUE(IsUsageError(Parse({"mlp", "--rate", "fast"})->Number("rate").status()));
  EXPECT_TRUE(IsUsageError(Parse({"mlp", "--rate", "-1"})->Whole("rate").status()));
}

}  // namespace
}  // namespace talweg
