// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/notice.h"

#include "gtest/gtest.h"

namespace talweg::server {
namespace {

TEST(NoticeTest, EveryListenerIsToldOnce) {
  Notice notice;
  int told = 0;
  notice.Listen([&] { ++told; });
  notice.Listen([&] { ++told; });
  EXPECT_EQ(told, 0);
  notice.Give();
  EXPECT_EQ(told, 2);
  notice.Give();
  EXPECT_EQ(told, 2);
}

TEST(NoticeTest, PulseTellsThoseWhoListenNowAndNobodyWhoComesLate) {
  Notice notice;
  int told = 0;
  notice.Listen([&] { told += 1; });
  notice.Pulse();
  notice.Pulse();
  notice.Listen([&] { told += 10; });
  EXPECT_EQ(told, 1);
  notice.Pulse();
  EXPECT_EQ(told, 11);
}

TEST(NoticeTest, WhoeverComesLateIsToldAtOnce) {
  Notice notice;
  notice.Give();
  int told = 0;
  notice.Listen([&] { ++told; });
  EXPECT_EQ(told, 1);
}

TEST(NoticeTest, WhoeverIsForgottenIsNotTold) {
  Notice notice;
  int told = 0;
  const uint64_t first = notice.Listen([&] { told += 1; });
  notice.Listen([&] { told += 10; });
  notice.Forget(first);
  notice.Forget(first);
  notice.Forget(0);
  notice.Give();
  EXPECT_EQ(told, 10);
}

TEST(NoticeTest, ListenerMayForgetItselfAndOthers) {
  Notice notice;
  uint64_t first = 0;
  int told = 0;
  first = notice.Listen([&] {
    ++told;
    notice.Forget(first);
  });
  notice.Give();
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace talweg::server
