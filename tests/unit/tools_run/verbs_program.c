// What every verbs program does first, with the machine's own libibverbs: find the device, open it,
// ask for a completion channel, look at a GID. Prints one line; anything wrong is the exit status.
#include <infiniband/verbs.h>
#include <stdio.h>

int main(void) {
    int count = 0;
    struct ibv_device** devices = ibv_get_device_list(&count);
    if (devices == NULL || count != 1) {
        return 10;
    }
    struct ibv_context* context = ibv_open_device(devices[0]);
    if (context == NULL) {
        return 11;
    }
    struct ibv_comp_channel* channel = ibv_create_comp_channel(context);
    if (channel == NULL || ibv_destroy_comp_channel(channel) != 0) {
        return 12;
    }
    struct ibv_gid_entry gid;
    if (ibv_query_gid_ex(context, 1, 3, &gid, 0) != 0 || gid.gid_type != IBV_GID_TYPE_ROCE_V2) {
        return 13;
    }
    if (ibv_alloc_pd(context) != NULL) {  // the small provider leaves it to the library
        return 14;
    }
    printf("%s gid3=%d.%d.%d.%d\n", ibv_get_device_name(devices[0]), gid.gid.raw[12],
           gid.gid.raw[13], gid.gid.raw[14], gid.gid.raw[15]);
    ibv_close_device(context);
    ibv_free_device_list(devices);
    return 0;
}
