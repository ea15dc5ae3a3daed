// Protection domains, parent domains and thread domains.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <cstdint>

namespace vrdma::verbs {

struct Td {
    ibv_td base{};                         // first: an ibv_td* is a Td*
    std::atomic<std::uint32_t> users = 0;  // parent domains

    [[nodiscard]] static Td* of(ibv_td* td) { return reinterpret_cast<Td*>(td); }
};

struct Pd {
    ibv_pd base{};             // first: an ibv_pd* is a Pd*
    Pd* protection = nullptr;  // of a parent domain: the domain that it extends
    Td* td = nullptr;          // of a parent domain, perhaps
    // Of a protection domain: parent domains. Of a parent domain: queue pairs, SRQs and CQs.
    std::atomic<std::uint32_t> users = 0;

    [[nodiscard]] static Pd* of(ibv_pd* pd) { return reinterpret_cast<Pd*>(pd); }
    [[nodiscard]] bool is_parent() const { return protection != nullptr; }
    // The program promised one thread at a time for what is made in it: no lock.
    [[nodiscard]] bool single_threaded() const { return td != nullptr; }
    // An object was made in it, or is gone. Those of a protection domain are counted by the device.
    void add_user() { users += is_parent() ? 1U : 0U; }
    void remove_user() { users -= is_parent() ? 1U : 0U; }
};

[[nodiscard]] ibv_pd* alloc_pd(ibv_context* context);
int dealloc_pd(ibv_pd* pd);  // of parent domains too
[[nodiscard]] ibv_pd* alloc_parent_domain(ibv_context* context, ibv_parent_domain_init_attr* attr);
[[nodiscard]] ibv_td* alloc_td(ibv_context* context, ibv_td_init_attr* attr);
int dealloc_td(ibv_td* td);

}  // namespace vrdma::verbs
