// Reads a page's JSON from standard input and writes it as HTML, for tests that look at it with a browser.

#include <exception>
#include <iostream>
#include <iterator>
#include <string>

#include "report/html_page.h"

int main() {
  try {
    const std::string text{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
    std::cout << condensed::report::html_page(boost::json::parse(text).as_object());
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
