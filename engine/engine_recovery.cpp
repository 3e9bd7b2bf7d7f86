// What the engine's thread does when its device fails.

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <new>
#include <stop_token>
#include <thread>

#include "engine/engine_loop.h"
#include "engine/input_error.h"
#include "kernels/device_error.h"

namespace condensed::engine {

/// Takes the sessions off the device, as far as it still gives them out, and puts them on it again once it is
/// made anew.
void Engine::Loop::recover(const std::string& what) {
  ledger_.turn_to(Work::preparing, Clock::now());
  options_.observer->on_device_failed();
  const bool whole = transformer_->caches_intact();
  const auto may_copy = [&](const EntryPtr& entry) {
    return whole || std::find(runners_.begin(), runners_.end(), entry) == runners_.end();
  };
  const SessionTable::Rescue rescue = table_.leave_device("the device failed: " + what, may_copy);
  slices_.clear();
  runners_.clear();
  transformer_.reset();
  options_.warn("the device failed: " + what + "; " + std::to_string(rescue.copied) +
                " sessions stay as they are, " + std::to_string(rescue.went_back) +
                " go back to what is on disk, " + std::to_string(rescue.lost) +
                " are lost; it is being restarted");
  if (!restart_device(what)) {
    return;
  }
  table_.return_to_device();
  options_.warn("the device was restarted");
}

/// False: it cannot be, and the engine ends.
bool Engine::Loop::restart_device(const std::string& what) {
  std::string failure = what;
  for (const std::chrono::milliseconds after : options_.restart_after) {
    if (!wait_before_restart(after)) {
      break;
    }
    const std::jthread beating = beat_beside();
    try {
      pass(Failpoint::restart, steps_);
      reload_model(*model_, options_.remake_backend);
      backend_name_ = model_->backend->name();
      transformer_.emplace(*model_, options_.max_batch_rows, options_.cache_dtype);
      return true;
    } catch (const kernels::DeviceError& error) {
      failure = error.what();
    } catch (const std::bad_alloc&) {
      failure = "no memory for the model";
    } catch (const InputError& error) {
      failure = error.what();
    }
    transformer_.reset();
  }
  give_up(failure);
  return false;
}

/// Signs of life while this thread loads the model, which may take long.
std::jthread Engine::Loop::beat_beside() {
  if (!beats()) {
    return {};
  }
  return std::jthread([this](const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::unique_lock lock(mutex);
    do {
      options_.heartbeat();
    } while (
        !stopped.wait_for(lock, stop, options_.heartbeat_interval, [&] { return stop.stop_requested(); }));
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

/// Nothing can be computed any more: what was copied goes to disk, and the engine ends.
void Engine::Loop::give_up(const std::string& what) {
  table_.save_copies();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  options_.given_up(what);
}

}  // namespace condensed::engine
