// A program without a loader: prints the device's node type, or "no device".
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(void) {
    char text[16];
    const int fd = open("/sys/class/infiniband/vrdma0/node_type", O_RDONLY);
    const long got = fd < 0 ? 0 : read(fd, text, sizeof text);
    printf("%.*s", got > 0 ? (int)got : 10, got > 0 ? text : "no device\n");
    return 0;
}
