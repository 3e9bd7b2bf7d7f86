#include "report/html_page.h"

#include <initializer_list>
#include <string_view>

#include "report/embedded.h"
#include "report/page_check.h"

namespace condensed::report {

namespace {

/// Holds the browser to what is in the page.
constexpr std::string_view kContentPolicy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// Text between tags.
std::string escaped_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

/// In JSON `<` stands in strings only, where it may be written as an escape: then no string ends the script
/// element or opens a comment.
std::string escaped_json(const boost::json::object& page) {
  std::string out;
  for (const char c : boost::json::serialize(page)) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string html_page(const boost::json::object& page) {
  check_page(page);
  std::string out;
  const auto add = [&out](std::initializer_list<std::string_view> parts) {
    for (const std::string_view part : parts) {
      out += part;
    }
  };
  add({"<!DOCTYPE html>\n<!--\n", licence_notice(),
       "-->\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"});
  add({"<meta http-equiv=\"Content-Security-Policy\" content=\"", kContentPolicy, "\">\n",
       "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n", "<title>",
       escaped_text(std::string_view(page.at("title").as_string())), "</title>\n<style>\n", style_sheet(),
       "</style>\n</head>\n<body>\n<main></main>\n",
       "<noscript>The figures of this page are drawn by JavaScript, which is switched off.</noscript>\n",
       "<script type=\"application/json\" id=\"page\">", escaped_json(page), "</script>\n"});
  for (const std::string_view script :
       {d3_source(), format_script(), axes_script(), chart_script(), readout_script(), page_script()}) {
    add({"<script>\n", script, "</script>\n"});
  }
  add({"</body>\n</html>\n"});
  return out;
}

}  // namespace condensed::report
