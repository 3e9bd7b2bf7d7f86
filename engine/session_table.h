#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/engine.h"
#include "engine/session.h"
#include "engine/session_snapshot.h"
#include "engine/snapshot_folder.h"
#include "engine/snapshot_thread.h"
#include "engine/work_ledger.h"

namespace condensed::engine {

/// Something to do with a session as soon as it is in memory, after what was asked before.
struct SessionOperation {
  bool settled = false;  // only when no input waits
  std::function<void(Session&)> run;
  std::function<void(const Error&)> fail;  // called instead when that will not be
};

/// What is known of one session, in memory or not.
struct SessionEntry {
  enum class Where : std::uint8_t {
    asleep,    // on disk only
    waiting,   // for room in memory
    loading,   // its file is being read
    resident,  // `session` is there
    gone,      // closed; whoever still holds the entry lets go of it
  };

  SessionId id;
  cache::StreamWindow window;
  Where where = Where::waiting;
  std::unique_ptr<Session> session;
  /// Until it is first resident: what it will be made of. Nothing: its file.
  std::variant<std::monostate, OpenRequest, SessionSnapshot> origin;
  SessionInfo last_info;  // unless resident
  std::deque<SessionOperation> operations;
  Clock::time_point last_used;
  Clock::time_point waiting_since;
  bool renaming = false;  // its file is; nothing else happens meanwhile

  bool on_disk = false;
  std::optional<std::uint64_t> saved_version;  // Session::version() of the file, of this stay in memory
  std::int64_t saved_position = 0;
  std::int64_t saving_position = 0;  // of the file that is being written, while `saving`
  std::size_t file_bytes = 0;
  bool save_queued = false;
  bool saving = false;
  std::uint64_t stay = 0;                          // in memory: counts them
  bool falling_asleep = false;                     // leaves memory once it is saved, unless it is used before
  std::vector<Reply<SavedSnapshot>> save_replies;  // to the next save that begins
};

/// Every session that the engine knows: which of them are in memory, within the limits for it, and what is on
/// disk. Used on the engine's thread; files are written and read on one of its own.
class SessionTable {
 public:
  using Entry = SessionEntry;
  using EntryPtr = std::shared_ptr<SessionEntry>;
  /// Runs something on the engine's thread; callable from any.
  using Post = std::function<void(std::function<void()>)>;

  /// Finds the sessions of options.state_dir. Throws InputError when it cannot be used. model, options and
  /// ledger must outlive the table; limits in options may change.
  SessionTable(Model& model, const cache::CacheShape& shape, const EngineOptions& options, WorkLedger& ledger,
               Post post);

  const std::map<SessionId, EntryPtr>& all() const { return entries_; }
  EntryPtr find(const SessionId& id) const;
  /// Those in memory, in the order they came there.
  const std::vector<EntryPtr>& residents() const { return residents_; }
  std::int64_t n_asleep() const;
  SessionInfo info(const Entry& entry) const;
  bool keeps_files() const { return folder_ != nullptr; }
  const SnapshotModel& snapshot_model() const { return snapshot_model_; }

  /// Adds a session, which becomes resident when there is room. The name must be free.
  EntryPtr create(SessionId id, const cache::StreamWindow& window,
                  std::variant<std::monostate, OpenRequest, SessionSnapshot> origin);
  /// Wakes the session if need be.
  void submit(const EntryPtr& entry, SessionOperation operation);
  /// Ends the session; its file is gone when `done` is called.
  void close(const EntryPtr& entry, std::function<void(std::optional<Error>)> done);
  /// The new name must be free. Requests to either name wait until `done` is called.
  void rename(const EntryPtr& entry, SessionId to, std::function<void(std::optional<Error>)> done);
  /// Writes the session's state, as soon as no input waits. Needs keeps_files(), and a resident session.
  void save(const EntryPtr& entry, Reply<SavedSnapshot> reply);
  /// The state of a session in memory; an error if the device does not give it out.
  std::variant<SessionSnapshot, Error> copy_of(const Session& session);
  /// Reads the file of a session that is asleep.
  void read_file(const EntryPtr& entry, Reply<ExportedSession> reply);
  /// What takes time is done beside the engine's thread: `work` runs there, then what it returns here. Work
  /// on the same sessions keeps its order; what is urgent overtakes the rest. `work` must not throw.
  enum class Urgency : std::uint8_t { someone_waits, can_wait };
  void run_beside(std::vector<SessionId> ids, Urgency urgency, std::function<std::function<void()>()> work);

  /// The session's next n tokens have room. False: they have not, and who waits for them was told; or the
  /// device failed.
  bool make_room_for(const EntryPtr& entry, std::int64_t n_tokens);
  /// The session, in memory, cannot go on for want of memory: what it generates and reads ends.
  static void stop_for_room(const EntryPtr& entry, const std::string& why);
  /// The session has run a step.
  void progressed(const EntryPtr& entry, Clock::time_point now);

  /// Does what is due: lets sessions in, puts others to sleep, writes snapshots. Returns when to come back.
  std::optional<Clock::time_point> maintain(Clock::time_point now);

  /// What the device would not give out or take back since the last leave_device(); empty: nothing.
  const std::string& device_failure() const { return device_failure_; }
  /// The device has failed at something else than a step.
  void device_failed(std::string what) { device_failure_ = std::move(what); }

  /// What became of those in memory when the device failed.
  struct Rescue {
    std::int64_t kept = 0;       // as they were: copied, or asleep with a file that says the same
    std::int64_t went_back = 0;  // to their files
    std::int64_t lost = 0;       // had none
  };
  /// Takes every session out of the device's memory. Those that are copied stay residents, with the input
  /// that waits; their generations are interrupted. What runs or waits on the others ends with `what`
  /// happened. may_copy: whether the device still holds what the session says. beat: called once for each
  /// session.
  Rescue leave_device(const std::string& what, const std::function<bool(const EntryPtr&)>& may_copy,
                      const std::function<void()>& beat);
  /// Puts the copied ones on the model's backend, or says in device_failure() why not: then they stay copied.
  /// What there is no room for, or not within the limit, goes to files, what was used least recently first.
  void return_to_device(const std::function<void()>& beat);

  /// The limits in options have changed: what is due may be, too.
  void limits_changed() { next_look_ = Clock::now(); }

  /// Before the end: nothing comes in any more.
  void refuse_arrivals(const Error& error);
  /// Writes whatever is not on disk yet; false while that or other work beside is under way.
  bool save_all();

 private:
  void touch(Entry& entry, Clock::time_point now);
  void run_operations(const EntryPtr& entry);
  void fail_operations(Entry& entry, const Error& error);

  /// Whether sessions can be put there: it has not failed, or was restarted.
  bool on_device() const { return model_.backend && device_failure_.empty(); }
  bool has_room(std::size_t bytes) const;
  void admit(Clock::time_point now);
  void make_room(std::size_t bytes, Clock::time_point now);
  bool may_sleep(const Entry& entry) const;
  void put_to_sleep(const EntryPtr& entry);
  void sleep(const EntryPtr& entry);
  void turn_away(const EntryPtr& entry);
  void make_resident(const EntryPtr& entry, std::unique_ptr<Session> session);
  void load(const EntryPtr& entry);
  void loaded(const EntryPtr& entry, std::variant<SessionSnapshot, Error> result);
  void release(const Entry& entry);

  std::vector<EntryPtr> latest_first() const;
  static bool copy_out(Session& session, std::size_t& room_bytes);
  void go_back(const EntryPtr& entry, const std::string& what, Rescue& result);
  void give_back(const EntryPtr& entry, const std::string& why);
  void let_wait(const EntryPtr& entry, Clock::time_point now);
  std::unique_ptr<Session> session_from(const EntryPtr& entry, SessionSnapshot snapshot);

  bool saved(const Entry& entry) const;
  void queue_save(const EntryPtr& entry);
  void begin_saves();
  void begin_save(const EntryPtr& entry);
  void finish_save(const EntryPtr& entry, std::uint64_t version, Clock::time_point began, std::uint64_t stay,
                   std::variant<SavedSnapshot, Error> result, std::vector<Reply<SavedSnapshot>> replies);
  void back_off(Error& error);
  void look_for_due(Clock::time_point now);
  std::size_t cache_bytes_of(const Entry& entry) const;
  void forget(const EntryPtr& entry);

  Model& model_;
  cache::CacheShape shape_;
  const EngineOptions& options_;
  WorkLedger& ledger_;
  Post post_;
  SnapshotModel snapshot_model_;
  std::unique_ptr<SnapshotFolder> folder_;  // null: sessions live in memory only

  std::map<SessionId, EntryPtr> entries_;
  std::vector<EntryPtr> residents_;
  std::deque<EntryPtr> arrivals_;  // wait for room, first come first
  std::vector<EntryPtr> blocked_;  // have operations that wait for something other than room
  std::deque<EntryPtr> save_queue_;
  std::size_t reserved_bytes_ = 0;  // caches of those resident and loading, as if full
  std::int64_t n_reserved_ = 0;
  std::int64_t saves_under_way_ = 0;
  std::int64_t work_beside_ = 0;                            // saves included
  Clock::time_point next_look_ = Clock::time_point::max();  // when something may be due
  Clock::time_point retry_saves_{};                         // after one failed
  std::chrono::milliseconds back_off_{0};
  std::string device_failure_;
  bool ending_ = false;
  std::unique_ptr<SnapshotThread> thread_;  // last: its jobs use the rest
};

}  // namespace condensed::engine
