/* http_address.h -- addresses that no request from outside settings should reach.  Pure. */
#ifndef SHARED_HTTP_ADDRESS_H
#define SHARED_HTTP_ADDRESS_H

#include <stdbool.h>

struct sockaddr;

/* True for loopback, private, carrier NAT, link-local, unique local, multicast, reserved, IPv4
 * within IPv6, and whatever is neither IPv4 nor IPv6. */
bool http_address_private(const struct sockaddr *a);

#endif
