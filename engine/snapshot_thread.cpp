#include "engine/snapshot_thread.h"

#include <algorithm>
#include <utility>

namespace condensed::engine {

SnapshotThread::SnapshotThread() : thread_([this] { run(); }) {}

SnapshotThread::~SnapshotThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void SnapshotThread::post(std::vector<SessionId> ids, std::function<void()> run) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back({.ids = std::move(ids), .run = std::move(run)});
  }
  changed_.notify_one();
}

void SnapshotThread::post_urgent(std::vector<SessionId> ids, std::function<void()> run) {
  {
    const std::lock_guard lock(mutex_);
    const auto must_precede = [&](const Job& job) {
      return job.urgent ||
             std::find_first_of(job.ids.begin(), job.ids.end(), ids.begin(), ids.end()) != job.ids.end();
    };
    const auto last = std::find_if(jobs_.rbegin(), jobs_.rend(), must_precede);
    jobs_.insert(last.base(), {.ids = std::move(ids), .run = std::move(run), .urgent = true});
  }
  changed_.notify_one();
}

void SnapshotThread::run() {
  for (;;) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) {
        return;
      }
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job.run();
  }
}

}  // namespace condensed::engine
