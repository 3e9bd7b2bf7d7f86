#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/session_id.h"

namespace condensed::engine {

/// Does the slow part of keeping sessions (files, compression, checksums) beside the engine's thread. Jobs of
/// one session run in the order they came. Jobs must not throw. The destructor finishes what was posted.
class SnapshotThread {
 public:
  SnapshotThread();
  ~SnapshotThread();
  SnapshotThread(const SnapshotThread&) = delete;
  SnapshotThread& operator=(const SnapshotThread&) = delete;

  /// ids: the sessions that the job is about.
  void post(std::vector<SessionId> ids, std::function<void()> run);
  /// The same for what somebody waits for: it overtakes the jobs of other sessions.
  void post_urgent(std::vector<SessionId> ids, std::function<void()> run);

 private:
  struct Job {
    std::vector<SessionId> ids;
    std::function<void()> run;
    bool urgent = false;
  };

  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;   // guarded by mutex_
  bool stopping_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace condensed::engine
