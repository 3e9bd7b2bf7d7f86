#include "kernels/make_backend.h"

#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/device_error.h"

namespace condensed::kernels {

TEST(MakeBackend, NamesWhatItMade) {
  EXPECT_EQ(make_backend("reference", 1)->name(), "reference");
  EXPECT_THAT(make_backend("auto", 1)->name(),
              testing::AnyOf("avx512vnni", "avx512", "avx2", "neondot", "neon", "reference"));
}

TEST(MakeBackend, RefusesUnknownKindsAndNegativeThreads) {
  for (const char* unknown : {"mmx", "cuda:", "cpu"}) {
    EXPECT_THAT([&] { make_backend(unknown, 1); },
                testing::ThrowsMessage<std::invalid_argument>(testing::HasSubstr("unknown backend")));
  }
  EXPECT_THAT([] { make_backend("auto", -1); },
              testing::ThrowsMessage<std::invalid_argument>(testing::HasSubstr("-1")));
}

TEST(MakeBackend, RefusesKernelsOfAnotherArchitecture) {
#if defined(__aarch64__)
  constexpr const char* kElsewhere = "avx2";
#else
  constexpr const char* kElsewhere = "neon";
#endif
  EXPECT_THAT([&] { make_backend(kElsewhere, 1); },
              testing::ThrowsMessage<std::invalid_argument>(testing::HasSubstr("which this one lacks")));
}

#if defined(__aarch64__)
TEST(MakeBackend, EveryAArch64ProcessorHasNeon) {
  EXPECT_EQ(make_backend("neon", 1)->name(), "neon");
}
#endif

TEST(MakeBackend, RefusesADeviceThatIsNotThere) {
  EXPECT_THROW(make_backend("cuda:99", 1), DeviceError);
}

}  // namespace condensed::kernels
