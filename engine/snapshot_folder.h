#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "engine/session_id.h"
#include "engine/session_snapshot.h"

namespace condensed::engine {

/// A session that a folder holds.
struct StoredSession {
  SessionId id;
  SessionSnapshot fields;  // without its cache
  std::size_t file_bytes = 0;
  std::chrono::nanoseconds age{};  // since it was written
};

/// Something that a scan came upon, for the log.
struct SetAside {
  std::filesystem::path from;
  std::filesystem::path to;
  std::string reason;
};

/// The files of sessions: `sessions/<user>.<name>.snapshot` under the state folder. A file is always whole:
/// it is written beside its place, synchronised and renamed. What cannot be used goes to `set-aside/`, and
/// nothing is deleted but what remove() is asked to. One process at a time has a folder; one thread at a time
/// calls.
class SnapshotFolder {
 public:
  /// Creates what is missing. Throws InputError when the folder cannot be written or another process has it.
  SnapshotFolder(const std::filesystem::path& state_dir, SnapshotModel model);
  ~SnapshotFolder();
  SnapshotFolder(const SnapshotFolder&) = delete;
  SnapshotFolder& operator=(const SnapshotFolder&) = delete;

  /// Every session there is. Files left half-written are removed; damaged and foreign ones are set aside.
  std::vector<StoredSession> scan(std::vector<SetAside>& set_aside);

  // What follows throws std::system_error when the file system refuses.

  /// Replaces the session's file: when this returns it will be found after a power cut.
  void write(const SessionId& id, std::span<const std::byte> file);
  std::vector<std::byte> read(const SessionId& id) const;
  void remove(const SessionId& id);
  void rename(const SessionId& from, const SessionId& to);
  /// Where it went.
  std::filesystem::path set_aside(const SessionId& id);

 private:
  std::filesystem::path path_of(const SessionId& id) const;
  std::filesystem::path move_aside(const std::filesystem::path& file);
  void sync_sessions() const;
  void close_descriptors();

  std::filesystem::path sessions_;
  std::filesystem::path set_aside_;
  SnapshotModel model_;
  int lock_ = -1;
  int folder_ = -1;  // sessions_, open: to synchronise it must not take a descriptor that may be lacking
};

}  // namespace condensed::engine
