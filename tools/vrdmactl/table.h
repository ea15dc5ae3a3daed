#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vrdma::vrdmactl {

/// Lines of cells under a heading, aligned with spaces, without borders.
class Table {
  public:
    enum class Align : bool { kLeft, kRight };
    struct Column {
        std::string heading;
        Align align = Align::kLeft;
    };

    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

    /// One cell for each column.
    void add(std::vector<std::string> row);

    [[nodiscard]] bool empty() const { return rows_.empty(); }

    /// Every line ends with a newline and has no blanks before it.
    [[nodiscard]] std::string text() const;

  private:
    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

/// "Name  value" lines with the values aligned, each line behind two blanks.
class Fields {
  public:
    void add(std::string name, const std::string& value);
    [[nodiscard]] std::string text() const;

  private:
    std::vector<std::pair<std::string, std::string>> lines_;
};

/// The text without control characters: a terminal must not obey what a service sends.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace vrdma::vrdmactl
