#pragma once

#include <cerrno>
#include <filesystem>
#include <functional>
#include <istream>
#include <stdlib.h>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <boost/asio.hpp>
#include <boost/json.hpp>

namespace condensed::client {

/// Accepts one connection on a socket of its own and talks on it as `script` says, on a thread of its own.
/// The connection ends with the script.
class FakeDaemon {
 public:
  class Peer {
   public:
    explicit Peer(boost::asio::local::stream_protocol::socket socket) : socket_(std::move(socket)) {}

    /// The next request. Throws boost::system::system_error when the client has gone.
    boost::json::object read() {
      boost::asio::read_until(socket_, received_, '\n');
      std::istream stream(&received_);
      std::string line;
      std::getline(stream, line);
      return boost::json::parse(line).as_object();
    }
    void write(std::string_view bytes) { boost::asio::write(socket_, boost::asio::buffer(bytes)); }

   private:
    boost::asio::local::stream_protocol::socket socket_;
    boost::asio::streambuf received_;
  };

  explicit FakeDaemon(std::function<void(Peer&)> script)
      : folder_(make_folder()), acceptor_(io_, path()), thread_([this, run = std::move(script)] {
          Peer peer(acceptor_.accept());
          try {
            run(peer);
          } catch (const boost::system::system_error&) {
            // The client gave up first: what it expected is its test's matter.
          }
        }) {}
  ~FakeDaemon() {
    thread_.join();
    std::filesystem::remove_all(folder_);
  }
  FakeDaemon(const FakeDaemon&) = delete;
  FakeDaemon& operator=(const FakeDaemon&) = delete;

  std::string path() const { return folder_ / "socket"; }

 private:
  static std::filesystem::path make_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "condensed-client-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw std::filesystem::filesystem_error("mkdtemp", name,
                                              std::error_code(errno, std::generic_category()));
    }
    return name;
  }

  std::filesystem::path folder_;
  boost::asio::io_context io_;
  boost::asio::local::stream_protocol::acceptor acceptor_;
  std::thread thread_;
};

}  // namespace condensed::client
