// SPDX-License-Identifier: Apache-2.0
#include "core/base/layout.h"

#include <string>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr uint64_t kTwoTo40 = uint64_t{1} << 40;

void ExpectRefused(std::vector<TensorSpec> tensors, absl::string_view field) {
  const absl::Status status = Layout::Create(std::move(tensors)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(ReasonName(status), "LAYOUT_INVALID") << status;
  EXPECT_EQ(FieldName(status), field) << status;
}

Layout Make(std::vector<TensorSpec> tensors) {
  absl::StatusOr<Layout> layout = Layout::Create(std::move(tensors));
  EXPECT_TRUE(layout.ok()) << layout.status();
  return *std::move(layout);
}

std::vector<TensorSpec> Many(size_t count) {
  std::vector<TensorSpec> tensors;
  for (size_t i = 0; i < count; ++i) tensors.push_back({"t" + std::to_string(i), {2}});
  return tensors;
}

TEST(LayoutTest, LaysTensorsOneAfterTheOther) {
  const Layout layout = Make({{"a", {2, 3}}, {"scalar", {}}, {"b", {4}}, {"one", {1, 1, 1}}});
  EXPECT_EQ(layout.num_elements(), 12u);
  EXPECT_EQ(std::vector<uint64_t>(layout.offsets().begin(), layout.offsets().end()),
            (std::vector<uint64_t>{0, 6, 7, 11}));
  const uint64_t sizes[] = {6, 1, 4, 1};
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(layout.size_of(i), sizes[i]) << i;
  EXPECT_EQ(layout.tensors()[2].name, "b");
  EXPECT_EQ(layout.tensors()[0].shape, (std::vector<uint64_t>{2, 3}));
}

TEST(LayoutTest, HasOneTo65536Tensors) {
  ExpectRefused({}, "tensors");
  ExpectRefused(Many(65537), "tensors");
  EXPECT_EQ(Make(Many(65536)).num_elements(), 2u * 65536);
  EXPECT_EQ(Make({{"only", {}}}).num_elements(), 1u);
}

TEST(LayoutTest, RefusesBadNames) {
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("a\n"), std::string("\x7f"),
        std::string("a\0b", 3), std::string("gr\xc3\xb6\xc3\x9f"), std::string(257, 'x')}) {
    ExpectRefused({{"ok", {}}, {name, {1}}}, "tensors[1].name");
  }
  Make({{std::string(256, 'x'), {}}, {"!", {}}, {"~", {}}, {"a*b", {}}});
}

TEST(LayoutTest, RefusesARepeatedName) {
  ExpectRefused({{"a", {1}}, {"b", {1}}, {"a", {2}}}, "tensors[2].name");
  Make({{"a", {1}}, {"A", {1}}});
}

TEST(LayoutTest, RefusesBadShapes) {
  ExpectRefused({{"a", {1, 2, 3, 4, 5, 6, 7, 8, 9}}}, "tensors[0].shape");
  ExpectRefused({{"a", {3, 0}}}, "tensors[0].shape");
  ExpectRefused({{"ok", {}}, {"a", {0}}}, "tensors[1].shape");
  EXPECT_EQ(Make({{"a", {1, 2, 3, 4, 5, 6, 7, 8}}}).num_elements(), 40320u);
}

TEST(LayoutTest, RefusesATensorOfTooManyElements) {
  ExpectRefused({{"a", {kTwoTo40 + 1}}}, "tensors[0].shape");
  ExpectRefused({{"a", {~uint64_t{0}}}}, "tensors[0].shape");
  ExpectRefused({{"a", {kTwoTo40, 2}}}, "tensors[0].shape");
  // Products that 64 bits would wrap to 0 and to 2.
  ExpectRefused({{"a", {uint64_t{1} << 32, uint64_t{1} << 32}}}, "tensors[0].shape");
  ExpectRefused({{"a", {2, (uint64_t{1} << 63) + 1}}}, "tensors[0].shape");
  // A dimension of 0 is refused wherever it stands, also after one that is too large.
  ExpectRefused({{"a", {~uint64_t{0}, 0}}}, "tensors[0].shape");
  EXPECT_EQ(Make({{"a", {uint64_t{1} << 20, uint64_t{1} << 20}}}).num_elements(), kTwoTo40);
}

TEST(LayoutTest, RefusesATotalOfTooManyElements) {
  ExpectRefused({{"a", {kTwoTo40}}, {"b", {}}}, "tensors");
  ExpectRefused({{"a", {kTwoTo40 / 2}}, {"b", {kTwoTo40 / 2}}, {"c", {1}}}, "tensors");
  EXPECT_EQ(Make({{"a", {kTwoTo40 / 2}}, {"b", {kTwoTo40 / 2}}}).num_elements(), kTwoTo40);
}

// FNV-1a of the text beside each, computed with a few lines of Python.
TEST(LayoutTest, DigestIsFnv1aOfItsText) {
  EXPECT_EQ(Make({{"a", {}}}).digest(), 0x17e8f042d1f1ae56u);  // "1:a:;"
  // "6:weight:512,784;4:bias:512;"
  EXPECT_EQ(Make({{"weight", {512, 784}}, {"bias", {512}}}).digest(), 0xb8e46f069c886f9bu);
}

TEST(LayoutTest, DigestTellsNamesShapesAndOrderApart) {
  const std::vector<std::vector<TensorSpec>> layouts = {{{"a", {6}}},
                                                        {{"b", {6}}},
                                                        {{"a", {2, 3}}},
                                                        {{"a", {3, 2}}},
                                                        {{"a", {6, 1}}},
                                                        {{"a", {2}}, {"b", {3}}},
                                                        {{"b", {3}}, {"a", {2}}},
                                                        {{"a", {3}}, {"b", {2}}},
                                                        {{"ab", {2, 3}}},
                                                        {{"a:1;1:b", {2}}},
                                                        {{"a", {1}}, {"b", {2}}}};
  for (size_t i = 0; i < layouts.size(); ++i) {
    EXPECT_EQ(Make(layouts[i]).digest(), Make(layouts[i]).digest());
    for (size_t j = 0; j < i; ++j) EXPECT_NE(Make(layouts[i]).digest(), Make(layouts[j]).digest());
  }
}

TEST(LayoutTest, SurvivesCopyAndMove) {
  Layout layout = Make({{"a", {2}}, {"b", {3}}});
  const Layout copy = layout;
  const Layout moved = std::move(layout);
  EXPECT_EQ(copy.digest(), moved.digest());
  EXPECT_EQ(moved.size_of(1), 3u);
  EXPECT_EQ(copy.tensors()[1].name, "b");
}

}  // namespace
}  // namespace talweg::core
