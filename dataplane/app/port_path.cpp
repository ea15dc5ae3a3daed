// Fault injection is above the capture: what is captured is what leaves after the faults and what
// comes in before them, as a recorder on the wire would see it. The fault layer is there from the
// beginning, so that what it has counted stays; a capture comes with its memory and goes with it.
#include "dataplane/app/port_path.h"

namespace vrdma::app {

PortPath::~PortPath() {
    capture_ = nullptr;
    connect();
    link_.reset();
    faults_.clear();
}

void PortPath::set_faults(const std::optional<Faults>& faults) {
    faulty_ = faults.has_value();
    connect();
    if (faults) {
        faults_.configure(faults->sending, faults->receiving, faults->seed);
    } else {
        faults_.clear();
    }
}

void PortPath::set_capture(net::CapturePort* capture) {
    capture_ = capture;
    connect();
}

void PortPath::connect() {
    PacketPort& bottom = capture_ == nullptr ? device_ : *capture_;
    faults_.set_below(bottom);
    link_->set_port(faulty_ ? faults_ : bottom);
}

}  // namespace vrdma::app
