// Text in columns.
//
// Operators read these with their eyes, grep and awk, so cells are separated by at least two
// blanks, never by lines drawn around them, and a cell is never empty. Whatever comes from the
// service is printed through printable(): names are chosen by others. Widths count bytes; all our
// text is ASCII.

#include "tools/vrdmactl/table.h"

#include <algorithm>

namespace vrdma::vrdmactl {
namespace {

std::string padded(const std::string& cell, std::size_t width, bool right) {
    const std::string blanks(width - std::min(width, cell.size()), ' ');
    return right ? blanks + cell : cell + blanks;
}

std::string trimmed(std::string line) {
    line.erase(line.find_last_not_of(' ') + 1);
    return line + "\n";
}

}  // namespace

void Table::add(std::vector<std::string> row) {
    for (std::string& cell : row) {
        cell = cell.empty() ? "-" : printable(cell);
    }
    row.resize(columns_.size(), "-");
    rows_.push_back(std::move(row));
}

std::string Table::text() const {
    std::vector<std::size_t> widths;
    std::vector<std::string> headings;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        headings.push_back(columns_[i].heading);
        std::size_t width = headings[i].size();
        for (const auto& row : rows_) {
            width = std::max(width, row[i].size());
        }
        widths.push_back(width);
    }
    std::string out;
    const auto write = [&](const std::vector<std::string>& row) {
        std::string line;
        for (std::size_t i = 0; i < columns_.size(); ++i) {
            line += (i == 0 ? "" : "  ") +
                    padded(row[i], widths[i], columns_[i].align == Align::kRight);
        }
        out += trimmed(std::move(line));
    };
    write(headings);
    for (const auto& row : rows_) {
        write(row);
    }
    return out;
}

void Fields::add(std::string name, const std::string& value) {
    lines_.emplace_back(std::move(name), value.empty() ? "-" : printable(value));
}

std::string Fields::text() const {
    std::size_t width = 0;
    for (const auto& line : lines_) {
        width = std::max(width, line.first.size());
    }
    std::string out;
    for (const auto& [name, value] : lines_) {
        out += trimmed("  " + padded(name, width, false) + "  " + value);
    }
    return out;
}

std::string printable(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte >= 0x7f) {
            c = '?';
        }
    }
    return out;
}

}  // namespace vrdma::vrdmactl
