#include "tools/verbs_util/error.h"

#include <cstring>

// Turns a failed call into a sentence. The remedies name what is nearly always the cause with a
// vRDMA device: the service is not running, a quota of the virtual NIC is used up, memory may not
// be locked or shared. They stay generic, because the same programs also run over RDMA hardware.

namespace vrdma::verbs_util {

std::string Error::message() const {
    std::string text = what;
    if (error_number != 0) {
        text += ": ";
        text += std::strerror(error_number);
    }
    if (!remedy.empty()) {
        text += "; ";
        text += remedy;
    }
    return text;
}

tl::unexpected<Error> fail_errno(ErrorKind kind, std::string what, int error_number,
                                 std::string remedy) {
    if (remedy.empty()) {
        remedy = remedy_for(error_number);
    }
    return tl::make_unexpected(Error{kind, std::move(what), error_number, std::move(remedy)});
}

std::string remedy_for(int error_number) {
    switch (error_number) {
        case ENOMEM:
        case ENOSPC:
        case EDQUOT:
            return "a limit of the device or a quota of its owner is reached: ask for fewer or "
                   "smaller objects, or raise the quota";
        case EINVAL:
            return "a value is above what the device supports: compare with ibv_devinfo -v";
        case EPERM:
        case EACCES:
            return "this user may not use the device: check the owner and mode of its socket or "
                   "device node";
        case EOPNOTSUPP:
        case ENOSYS:
        case EPROTONOSUPPORT:
            return "the device does not support this";
        case EIO:
        case ENOTCONN:
        case EPIPE:
        case ECONNRESET:
        case ECONNREFUSED:
        case ENODEV:
            return "the service behind the device does not answer: check that vrdmad runs";
        default:
            return {};
    }
}

}  // namespace vrdma::verbs_util
