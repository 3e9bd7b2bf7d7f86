// What the engine's thread does when its device fails.

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <stop_token>
#include <string>
#include <thread>

#include "engine/engine_loop.h"

namespace condensed::engine {

namespace {

/// A restart that takes longer hangs: the watchdog shall see it.
constexpr std::chrono::minutes kLongestLoad{10};

}  // namespace

/// Restarts the device with the sessions that are left, again and again while it fails as they return.
void Engine::Loop::recover(std::string what) {
  ledger_.turn_to(Work::preparing, Clock::now());
  while (!what.empty()) {
    leave_device(what);
    if (!restart_device(what)) {
      return;
    }
    table_.return_to_device([this] { beat(); });
    what = table_.device_failure();
  }
  options_.warn("the device was restarted");
}

/// Takes the sessions off the device, as far as it still gives them out. What fails again without a step that
/// succeeded in between may be due to what the step's sessions read: their input is dropped then.
void Engine::Loop::leave_device(const std::string& what) {
  options_.observer->on_device_failed();
  const bool whole = transformer_->caches_intact();
  const auto may_copy = [&](const EntryPtr& entry) {
    return whole || std::find(runners_.begin(), runners_.end(), entry) == runners_.end();
  };
  const SessionTable::Rescue rescue =
      table_.leave_device("the device failed: " + what, may_copy, [this] { beat(); });
  for (const EntryPtr& entry : runners_) {
    if (failures_ > 0 && entry->session) {
      entry->session->drop_input({ErrorCode::device_failed, "the device failed again: " + what +
                                                                "; session '" + entry->id.name +
                                                                "' does not read the rest of this input"});
    }
  }
  slices_.clear();
  runners_.clear();
  drop_device();
  options_.warn("the device failed: " + what + "; " + std::to_string(rescue.kept) +
                " sessions stay as they are, " + std::to_string(rescue.went_back) +
                " go back to what is on disk, " + std::to_string(rescue.lost) +
                " are lost; it is being restarted");
}

/// Nobody runs on what has failed, also where it is not restarted: sessions have nothing there any more.
void Engine::Loop::drop_device() {
  transformer_.reset();
  model_->weights = {};
  model_->backend.reset();
}

/// False: it cannot be, or the engine is to stop, and ends.
bool Engine::Loop::restart_device(std::string what) {
  while (failures_ < options_.restart_after.size()) {
    if (!wait_before_restart(options_.restart_after[failures_++])) {
      return false;
    }
    try {
      remake_device(failures_ == options_.restart_after.size());
      return true;
    } catch (const std::bad_alloc& error) {
      what = std::string("no memory for the model: ") + error.what();
    } catch (const std::exception& error) {
      what = error.what();
    }
    drop_device();
  }
  give_up(what);
  return false;
}

void Engine::Loop::remake_device(bool last) {
  const std::jthread beating = beat_beside();
  pass(Failpoint::restart, steps_);
  reload_model(*model_, [&] { return options_.remake_backend(last); });
  transformer_.emplace(*model_, options_.max_batch_rows, options_.cache_dtype);
  set_cache_memory_aside();
  if (backend_name_ != model_->backend->name()) {
    planner_ = PromptPlanner::measured(*model_, *transformer_, options_.prompt);
    backend_name_ = model_->backend->name();
  }
}

/// Signs of life while this thread loads the model, which may take long, but not for ever.
std::jthread Engine::Loop::beat_beside() {
  if (!beats()) {
    return {};
  }
  return std::jthread([this](const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::unique_lock lock(mutex);
    const auto until = Clock::now() + kLongestLoad;
    do {
      options_.heartbeat();
    } while (!stopped.wait_for(lock, stop, options_.heartbeat_interval, [&] {
      return stop.stop_requested();
    }) && Clock::now() < until);
  });
}

/// False: the engine is to stop.
bool Engine::Loop::wait_before_restart(std::chrono::milliseconds time) {
  const auto until = Clock::now() + time;
  while (Clock::now() < until) {
    beat();
    std::unique_lock lock(mutex_);
    const auto next = beats() ? std::min(until, next_beat_) : until;
    if (wakeup_.wait_until(lock, next, [this] { return stopping_; })) {
      return false;
    }
  }
  return !stopping();
}

/// Nothing can be computed any more: the engine ends as ever, and saves what was copied.
void Engine::Loop::give_up(const std::string& what) {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  options_.given_up(what);
}

}  // namespace condensed::engine
