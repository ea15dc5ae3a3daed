// fmt, compiled once for all programs that carry it inside. The distribution has it as a shared
// library, whose name differs in each release, and as headers, which cost every file that formats a
// text some seconds of compiling. The headers hold the definitions of the library, too; what they
// leave to it are a few instances of templates.
#include <fmt/format-inl.h>

namespace fmt::detail {

template auto dragonbox::to_decimal(float) -> dragonbox::decimal_fp<float>;
template auto dragonbox::to_decimal(double) -> dragonbox::decimal_fp<double>;
template auto thousands_sep_impl<char>(locale_ref) -> thousands_sep_result<char>;
template auto decimal_point_impl(locale_ref) -> char;
template void buffer<char>::append(const char*, const char*);

}  // namespace fmt::detail
