// The engine's sign of life: it comes from the thread that computes, so that it stops when that thread does.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/model.h"
#include "kernels/make_backend.h"

namespace condensed::engine {
namespace {

using std::chrono::milliseconds;

/// Counts beats; others wait for them.
class Beats {
 public:
  void beat() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  std::int64_t count() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }
  void wait_for_more(std::int64_t n) {
    std::unique_lock lock(mutex_);
    const std::int64_t goal = count_ + n;
    changed_.wait(lock, [&] { return count_ >= goal; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::int64_t count_ = 0;
};

/// Keeps the engine's thread in its first token until it is released.
class Blocker : public GenerationListener {
 public:
  bool accepts_token() const override { return true; }
  void on_token(const GeneratedToken& /*token*/) override {
    entered_ = true;
    entered_.notify_all();
    released_.wait(false);
  }
  void on_done(const GenerationSummary& /*summary*/) override {}

  void wait_until_blocked() { entered_.wait(false); }
  void release() {
    released_ = true;
    released_.notify_all();
  }

 private:
  std::atomic<bool> entered_ = false;
  std::atomic<bool> released_ = false;
};

EngineOptions options_with(Beats& beats, milliseconds interval) {
  EngineOptions options;
  options.default_window = {4, 60};
  options.heartbeat = [&beats] { beats.beat(); };
  options.heartbeat_interval = interval;
  return options;
}

std::shared_ptr<Model> small_model() {
  return load_model(std::filesystem::path(CONDENSED_MODELS_DIR) / "books-1m",
                    kernels::make_backend("auto", 1), parse_weight_format("stored"));
}

TEST(Heartbeat, GoesOnWhileIdleAndWhileGenerating) {
  Beats beats;
  Engine engine(small_model(), options_with(beats, milliseconds(1)));
  beats.wait_for_more(3);
  auto endless = std::make_shared<Blocker>();
  endless->release();
  engine.open({.session = {.name = "a"}}, [](const auto&) {});
  engine.generate({.session = {.name = "a"}}, endless, [](const auto&) {});
  endless->wait_until_blocked();
  beats.wait_for_more(3);
}

TEST(Heartbeat, StopsWhileTheEngineIsStuck) {
  Beats beats;
  Engine engine(small_model(), options_with(beats, milliseconds(1)));
  auto stuck = std::make_shared<Blocker>();
  engine.open({.session = {.name = "a"}}, [](const auto&) {});
  engine.generate({.session = {.name = "a"}}, stuck, [](const auto&) {});
  stuck->wait_until_blocked();
  const std::int64_t before = beats.count();
  std::this_thread::sleep_for(milliseconds(20));  // many intervals
  EXPECT_EQ(beats.count(), before);
  stuck->release();
  beats.wait_for_more(3);
}

TEST(Heartbeat, IsNotThereUnlessAskedFor) {
  Beats beats;
  {
    Engine engine(small_model(), options_with(beats, milliseconds(0)));
    auto free = std::make_shared<Blocker>();
    free->release();
    engine.open({.session = {.name = "a"}}, [](const auto&) {});
    engine.generate({.session = {.name = "a"}, .max_tokens = 3}, free, [](const auto&) {});
    free->wait_until_blocked();
  }
  EXPECT_EQ(beats.count(), 0);
}

}  // namespace
}  // namespace condensed::engine
