/* Addresses a provider cannot have.  The check is made on the resolved address just before connect,
 * so that neither a name that resolves to a private one nor an odd spelling (0x7f.1, 2130706433)
 * gets by. Ranges: the IANA special-purpose address registries (RFC 6890 and its updates). */
#include "shared/http_address.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

struct range4 {
    uint32_t net;
    int bits;
};

#define NET4(a, b, c, d)                                                                           \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static const struct range4 ranges4[] = {
    {NET4(0, 0, 0, 0), 8},       /* this network */
    {NET4(10, 0, 0, 0), 8},      /* private */
    {NET4(100, 64, 0, 0), 10},   /* carrier NAT */
    {NET4(127, 0, 0, 0), 8},     /* loopback */
    {NET4(169, 254, 0, 0), 16},  /* link-local, and the clouds' metadata service */
    {NET4(172, 16, 0, 0), 12},   /* private */
    {NET4(192, 0, 0, 0), 24},    /* protocol assignments */
    {NET4(192, 0, 2, 0), 24},    /* documentation */
    {NET4(192, 88, 99, 0), 24},  /* 6to4 relay */
    {NET4(192, 168, 0, 0), 16},  /* private */
    {NET4(198, 18, 0, 0), 15},   /* benchmarks */
    {NET4(198, 51, 100, 0), 24}, /* documentation */
    {NET4(203, 0, 113, 0), 24},  /* documentation */
    {NET4(224, 0, 0, 0), 4},     /* multicast */
    {NET4(240, 0, 0, 0), 4},     /* reserved, and broadcast */
};

struct range6 {
    uint8_t net[8];
    int bits;
};

static const struct range6 ranges6[] = {
    {{0}, 64},                            /* ::, ::1, IPv4-compatible and IPv4-mapped */
    {{0x00, 0x64, 0xff, 0x9b, 0, 1}, 48}, /* local NAT64 */
    {{0x01, 0x00}, 64},                   /* discard */
    {{0x20, 0x01, 0x00, 0x00}, 23},       /* protocol assignments, Teredo */
    {{0x20, 0x01, 0x0d, 0xb8}, 32},       /* documentation */
    {{0x20, 0x02}, 16},                   /* 6to4: holds an IPv4 address */
    {{0x3f, 0xff}, 20},                   /* documentation */
    {{0x5f, 0x00}, 16},                   /* segment routing */
    {{0xfc, 0x00}, 7},                    /* unique local */
    {{0xfe, 0x80}, 10},                   /* link-local */
    {{0xfe, 0xc0}, 10},                   /* site-local */
    {{0xff, 0x00}, 8},                    /* multicast */
};

static bool
private4(uint32_t a)
{
    for (size_t i = 0; i < sizeof ranges4 / sizeof *ranges4; i++) {
        uint32_t mask = 0xffffffffu << (32 - ranges4[i].bits);
        if ((a & mask) == ranges4[i].net) {
            return true;
        }
    }
    return false;
}

static bool
private6(const uint8_t *a)
{
    /* 64:ff9b::/96 is how a host without IPv4 reaches a public IPv4 address; judge that one. */
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(a, nat64, sizeof nat64) == 0) {
        return private4(NET4(a[12], a[13], a[14], a[15]));
    }
    for (size_t i = 0; i < sizeof ranges6 / sizeof *ranges6; i++) {
        const struct range6 *r = &ranges6[i];
        size_t whole = (size_t)r->bits / 8;
        int rest = r->bits % 8;
        if (memcmp(a, r->net, whole) == 0 &&
            (rest == 0 || (a[whole] >> (8 - rest)) == (r->net[whole] >> (8 - rest)))) {
            return true;
        }
    }
    return false;
}

bool
http_address_private(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, a, sizeof in);
        return private4(ntohl(in.sin_addr.s_addr));
    }
    if (a->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, a, sizeof in6);
        return private6(in6.sin6_addr.s6_addr);
    }
    return true;
}
