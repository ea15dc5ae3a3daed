// The ports of an id. The services keep them, one for each vNIC that the id is bound to, because
// the programs of a vNIC share its ports.
#include <cerrno>
#include <utility>

#include "verbs/cm.h"

namespace vrdma::verbs {
namespace {

constexpr int kPortTries = 8;

}  // namespace

int Cm::reserve(Lock& lock, const Id& id, const std::vector<CmService*>& services,
                std::uint16_t port) {
    lock.unlock();
    int error = services.empty() ? ENODEV : 0;
    std::vector<CmId::Reservation> taken;
    std::uint16_t chosen = port;
    // All of them must have the same port: when one is free here and not there, look for another.
    for (int tries = 0; tries < kPortTries; ++tries) {
        chosen = port;
        error = services.empty() ? ENODEV : 0;
        for (CmService* service : services) {
            vrdma_cm_message command{};
            command.type = VRDMA_CM_RESERVE;
            command.handle = id->handle;
            command.port_space = id->port_space;
            command.port = chosen;
            const auto answer = service->ask(command);
            if (!answer || answer->status != VRDMA_CM_OK) {
                error = !answer                             ? answer.error()
                        : answer->status == VRDMA_CM_IN_USE ? EADDRINUSE
                        : answer->status == VRDMA_CM_FULL   ? ENOMEM
                                                            : EINVAL;
                break;
            }
            chosen = answer->port;
            taken.push_back({service, id->handle});
        }
        if (error == 0) {
            break;
        }
        for (const CmId::Reservation& reservation : taken) {
            vrdma_cm_message command{};
            command.type = VRDMA_CM_RELEASE;
            command.handle = reservation.handle;
            [[maybe_unused]] const auto answer = reservation.service->ask(command);
        }
        taken.clear();
        if (port != 0 || error != EADDRINUSE) {
            break;
        }
    }
    lock.lock();
    id->reservations = std::move(taken);
    if (error == 0) {
        id->source.port = chosen;
    }
    return error;
}

void Cm::release(Lock& lock, const Id& id) {
    const std::vector<CmId::Reservation> reservations = std::move(id->reservations);
    id->reservations.clear();
    if (reservations.empty()) {
        return;
    }
    lock.unlock();
    for (const CmId::Reservation& reservation : reservations) {
        vrdma_cm_message command{};
        command.type = VRDMA_CM_RELEASE;
        command.handle = reservation.handle;
        // When there is no answer the service is gone, and the port with it.
        [[maybe_unused]] const auto answer = reservation.service->ask(command);
    }
    lock.lock();
}

}  // namespace vrdma::verbs
