#include "engine/snapshot_folder.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <optional>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <sys/file.h>

#include "engine/input_error.h"
#include "engine/snapshot_file.h"

namespace condensed::engine {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kSuffix = ".snapshot";
constexpr std::string_view kHalfWritten = ".snapshot.new";

[[noreturn]] void fail(const fs::path& path, const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what + " " + path.string());
}

/// A file descriptor with an owner.
class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : number_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {
    if (number_ < 0) {
      fail(path, "cannot open");
    }
  }
  ~Descriptor() { ::close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const { return number_; }

 private:
  int number_;
};

void write_all(const Descriptor& file, std::span<const std::byte> bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file.number(), bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) {
      fail(path, "cannot write");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  }
  if (::fsync(file.number()) != 0) {
    fail(path, "cannot synchronise");
  }
}

std::vector<std::byte> read_front(const fs::path& path, std::size_t n_bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    fail(path, "cannot open");
  }
  std::vector<std::byte> bytes(n_bytes);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(n_bytes));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  return bytes;
}

/// The session of a file name, if it is one.
std::optional<SessionId> session_of(const std::string& file_name) {
  if (!file_name.ends_with(kSuffix)) {
    return std::nullopt;
  }
  const std::string_view stem = std::string_view(file_name).substr(0, file_name.size() - kSuffix.size());
  SessionId id;
  const auto [dot, error] = std::from_chars(stem.data(), stem.data() + stem.size(), id.user);
  const auto name_at = static_cast<std::size_t>(dot - stem.data()) + 1;
  if (error != std::errc() || name_at >= stem.size() || *dot != '.') {
    return std::nullopt;
  }
  id.name = stem.substr(name_at);
  return id;
}

}  // namespace

SnapshotFolder::SnapshotFolder(const fs::path& state_dir, SnapshotModel model)
    : sessions_(state_dir / "sessions"), set_aside_(state_dir / "set-aside"), model_(std::move(model)) {
  std::error_code error;
  for (const fs::path& folder : {sessions_, set_aside_}) {
    fs::create_directories(folder, error);
    if (!error) {
      fs::permissions(folder, fs::perms::owner_all, error);  // conversations are nobody else's business
    }
    if (error) {
      throw InputError("state folder " + folder.string() + ": " + error.message());
    }
  }
  const fs::path lock = state_dir / "lock";
  lock_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_ < 0 || ::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    close_descriptors();
    throw InputError("state folder " + state_dir.string() + ": " +
                     (reason == EWOULDBLOCK ? "another daemon uses it; give each its own (state_dir)"
                                            : std::strerror(reason)));
  }
  folder_ = ::open(sessions_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_ < 0) {
    const int reason = errno;
    close_descriptors();
    throw InputError("state folder " + sessions_.string() + ": " + std::strerror(reason));
  }
}

SnapshotFolder::~SnapshotFolder() {
  close_descriptors();
}

void SnapshotFolder::close_descriptors() {
  for (const int descriptor : {folder_, lock_}) {  // the latter unlocks the folder
    if (descriptor >= 0) {
      ::close(descriptor);
    }
  }
}

fs::path SnapshotFolder::path_of(const SessionId& id) const {
  return sessions_ / (std::to_string(id.user) + "." + id.name + std::string(kSuffix));
}

void SnapshotFolder::sync_sessions() const {
  if (::fsync(folder_) != 0) {
    fail(sessions_, "cannot synchronise");
  }
}

fs::path SnapshotFolder::move_aside(const fs::path& file) {
  fs::path to = set_aside_ / file.filename();
  for (int n = 1; fs::exists(to); ++n) {
    to = set_aside_ / (file.filename().string() + "." + std::to_string(n));
  }
  fs::rename(file, to);
  return to;
}

std::vector<StoredSession> SnapshotFolder::scan(std::vector<SetAside>& set_aside) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(sessions_)) {
    files.push_back(entry.path());
  }
  std::vector<StoredSession> found;
  for (const fs::path& file : files) {
    if (file.filename().string().ends_with(kHalfWritten)) {
      fs::remove(file);  // nobody was told that it is saved
      continue;
    }
    try {
      const std::optional<SessionId> id = session_of(file.filename());
      if (!id) {
        throw InputError("its name is not that of a session's file");
      }
      const std::vector<std::byte> header = read_front(file, kSnapshotHeaderBytes);
      const std::vector<std::byte> beginning = read_front(file, snapshot_fields_end(header));
      found.push_back({.id = *id,
                       .fields = decode_snapshot_fields(beginning, model_),
                       .file_bytes = fs::file_size(file),
                       .age = fs::file_time_type::clock::now() - fs::last_write_time(file)});
    } catch (const std::exception& error) {
      set_aside.push_back({.from = file, .to = move_aside(file), .reason = error.what()});
    }
  }
  return found;
}

void SnapshotFolder::write(const SessionId& id, std::span<const std::byte> file) {
  const fs::path path = path_of(id);
  fs::path half_written = path;
  half_written.replace_extension(kHalfWritten);
  try {
    write_all(Descriptor(half_written, O_WRONLY | O_CREAT | O_TRUNC), file, half_written);
    fs::rename(half_written, path);
  } catch (...) {
    std::error_code ignored;
    fs::remove(half_written, ignored);
    throw;
  }
  sync_sessions();
}

std::vector<std::byte> SnapshotFolder::read(const SessionId& id) const {
  const fs::path path = path_of(id);
  return read_front(path, fs::file_size(path));
}

void SnapshotFolder::remove(const SessionId& id) {
  if (fs::remove(path_of(id))) {
    sync_sessions();
  }
}

void SnapshotFolder::rename(const SessionId& from, const SessionId& to) {
  fs::rename(path_of(from), path_of(to));
  sync_sessions();
}

fs::path SnapshotFolder::set_aside(const SessionId& id) {
  return move_aside(path_of(id));
}

}  // namespace condensed::engine
