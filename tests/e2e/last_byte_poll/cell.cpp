#include "tests/e2e/last_byte_poll/cell.h"

#include <array>

// Sizes on both sides of what copy routines treat differently (a word, a line, odd lengths, a page,
// what fits into a cache, what does not), at offsets that are aligned to a line, to a word and not
// at all. A cell's share is by weight; rounding leftovers go to the first cells.

namespace vrdma::last_byte {

namespace {

struct Size {
    std::uint32_t bytes;
    std::uint64_t weight;
};

constexpr std::array kSizes = {
    Size{8, 16},    Size{64, 16},   Size{100, 16},     Size{256, 16},
    Size{1024, 16}, Size{4096, 16}, Size{64 << 10, 4}, Size{kLargestMessage, 1}};
constexpr std::array kOffsets = {0U, 8U, 1U};
constexpr std::array kPaths = {Path::kWrite, Path::kWriteInline, Path::kRead, Path::kSend,
                               Path::kSendInline};

std::uint64_t weight_of(std::uint32_t bytes) {
    for (const Size& size : kSizes) {
        if (size.bytes == bytes) {
            return size.weight;
        }
    }
    return 0;
}

}  // namespace

std::string_view path_name(Path path) {
    switch (path) {
        case Path::kWrite:
            return "write";
        case Path::kWriteInline:
            return "write-inline";
        case Path::kRead:
            return "read";
        case Path::kSend:
            return "send";
        case Path::kSendInline:
            return "send-inline";
    }
    return "unknown";
}

bool is_inline(Path path) {
    return path == Path::kWriteInline || path == Path::kSendInline;
}

bool is_send(Path path) {
    return path == Path::kSend || path == Path::kSendInline;
}

std::vector<Cell> make_cells(std::uint64_t operations, std::uint32_t max_inline) {
    std::vector<Cell> cells;
    std::uint64_t total_weight = 0;
    for (const Path path : kPaths) {
        for (const Size& size : kSizes) {
            if (is_inline(path) && size.bytes > max_inline) {
                continue;
            }
            for (const std::uint32_t offset : kOffsets) {
                cells.push_back({path, size.bytes, offset, 0});
                total_weight += size.weight;
            }
        }
    }
    std::uint64_t given = 0;
    for (Cell& cell : cells) {
        cell.operations = operations / total_weight * weight_of(cell.size) +
                          operations % total_weight * weight_of(cell.size) / total_weight;
        given += cell.operations;
    }
    for (std::size_t i = 0; given < operations; i = (i + 1) % cells.size(), ++given) {
        ++cells[i].operations;
    }
    return cells;
}

}  // namespace vrdma::last_byte
