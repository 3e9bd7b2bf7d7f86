#include "report/page_check.h"

#include <cmath>
#include <initializer_list>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>

namespace condensed::report {

namespace {

namespace json = boost::json;

/// A value and where it stands in the page.
struct Place {
  const json::value* value = nullptr;  // null: there is none
  std::string path;

  [[noreturn]] void fail(const std::string& expected) const {
    const std::string found = value == nullptr ? "is missing" : "is " + json::serialize(*value).substr(0, 80);
    throw std::invalid_argument("the page's " + path + " " + found + "; it should be " + expected);
  }

  Place member(std::string_view key) const {
    if (value == nullptr || !value->is_object()) {
      fail("an object");
    }
    return {value->get_object().if_contains(key), path + "." + std::string(key)};
  }

  const json::array& array() const {
    if (value == nullptr || !value->is_array()) {
      fail("an array");
    }
    return value->get_array();
  }

  Place element(std::size_t i) const { return {&array()[i], path + "[" + std::to_string(i) + "]"}; }

  template <typename Check>
  void each(Check check) const {
    for (std::size_t i = 0; i < array().size(); ++i) {
      check(element(i));
    }
  }

  std::string_view text() const {
    if (value == nullptr || !value->is_string()) {
      fail("a string");
    }
    return value->get_string();
  }

  void one_of(std::initializer_list<std::string_view> names) const {
    std::string all;
    for (const std::string_view name : names) {
      if (value != nullptr && value->is_string() && value->get_string() == name) {
        return;
      }
      all += (all.empty() ? "" : ", ") + std::string(name);
    }
    fail("one of " + all);
  }

  bool is_finite_number() const {
    return value != nullptr && value->is_number() && std::isfinite(value->to_number<double>());
  }

  void number() const {
    if (!is_finite_number()) {
      fail("a finite number");
    }
  }

  bool there() const { return value != nullptr; }
};

void check_table(const Place& table) {
  const Place columns = table.member("columns");
  columns.each([](const Place& column) { column.text(); });
  table.member("rows").each([&](const Place& row) {
    if (row.array().size() != columns.array().size()) {
      row.fail("as long as the list of columns");
    }
    row.each([](const Place& cell) {
      if (!cell.value->is_string() && !cell.value->is_null() && !cell.value->is_bool()) {
        cell.number();
      }
    });
  });
}

void check_axis(const Place& axis, bool is_x) {
  axis.member("label").text();
  if (is_x) {
    axis.member("scale").one_of({"linear", "log", "quantile", "band"});
  } else {
    axis.member("scale").one_of({"linear", "log"});
  }
  if (const Place unit = axis.member("unit"); unit.there()) {
    unit.one_of({"bytes", "seconds"});
  }
  if (const Place zero = axis.member("zero"); zero.there() && !zero.value->is_bool()) {
    zero.fail("true or false");
  }
}

void check_point(const Place& point, bool named) {
  const std::size_t size = point.array().size();
  if (size != 2 && size != 4) {
    point.fail("[x, y] or [x, y, low, high]");
  }
  if (named) {
    point.element(0).text();
  } else {
    point.element(0).number();
  }
  for (std::size_t i = 1; i < size; ++i) {
    if (!point.element(i).value->is_null()) {
      point.element(i).number();
    }
  }
}

void check_chart(const Place& chart, std::set<std::string, std::less<>>& ids) {
  const std::string_view id = chart.member("id").text();
  if (id.empty() || id == "page" || !ids.emplace(id).second) {
    chart.member("id").fail("a name that no other chart has, nor \"page\"");
  }
  chart.member("title").text();
  check_axis(chart.member("x"), true);
  check_axis(chart.member("y"), false);
  const bool named = chart.member("x").member("scale").text() == "band";
  chart.member("series").each([&](const Place& series) {
    series.member("name").text();
    if (const Place style = series.member("style"); style.there()) {
      style.one_of({"line", "dots", "bars"});
    }
    series.member("points").each([&](const Place& point) { check_point(point, named); });
  });
  if (const Place marks = chart.member("marks"); marks.there()) {
    marks.each([](const Place& mark) {
      mark.member("label").text();
      mark.member(mark.member("y").there() ? "y" : "x").number();
    });
  }
}

}  // namespace

void check_page(const json::object& page) {
  const json::value whole(page);
  const Place root{&whole, "object"};
  root.member("title").text();
  if (const Place subtitle = root.member("subtitle"); subtitle.there()) {
    subtitle.text();
  }
  std::set<std::string, std::less<>> ids;
  root.member("sections").each([&](const Place& section) {
    for (const char* key : {"heading", "text"}) {
      if (const Place text = section.member(key); text.there()) {
        text.text();
      }
    }
    if (const Place table = section.member("table"); table.there()) {
      check_table(table);
    }
    if (const Place chart = section.member("chart"); chart.there()) {
      check_chart(chart, ids);
    }
  });
}

}  // namespace condensed::report
