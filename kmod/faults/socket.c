// SPDX-License-Identifier: GPL-2.0-only
/* socket.c - a family of sockets that can be opened and closed, no more */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/socket.h>

#include <net/sock.h>

#include "faults.h"

/* A number that was given out once and has no family in any kernel. */
#define FA_FAMILY AF_ASH

static struct proto fa_proto = {
	.name = "FAULTS",
	.owner = THIS_MODULE,
	.obj_size = sizeof(struct sock),
};

static int fa_socket_release(struct socket *sock)
{
	sock_orphan(sock->sk);
	sock_put(sock->sk);
	sock->sk = NULL;
	return 0;
}

static const struct proto_ops fa_socket_ops = {
	.family = FA_FAMILY,
	.owner = THIS_MODULE,
	.release = fa_socket_release,
	.bind = sock_no_bind,
	.connect = sock_no_connect,
	.socketpair = sock_no_socketpair,
	.accept = sock_no_accept,
	.getname = sock_no_getname,
	.ioctl = sock_no_ioctl,
	.listen = sock_no_listen,
	.shutdown = sock_no_shutdown,
	.sendmsg = sock_no_sendmsg,
	.recvmsg = sock_no_recvmsg,
	.mmap = sock_no_mmap,
};

static int fa_socket_create(struct net *net, struct socket *sock, int protocol, int kern)
{
	struct sock *sk = sk_alloc(net, FA_FAMILY, GFP_KERNEL, &fa_proto, kern);

	if (!sk)
		return -ENOMEM;

	sock->ops = &fa_socket_ops;
	sock_init_data(sock, sk);
	return 0;
}

static const struct net_proto_family fa_socket_family = {
	.family = FA_FAMILY,
	.create = fa_socket_create,
	.owner = THIS_MODULE,
};

int fa_socket_start(void)
{
	int ret;

	ret = proto_register(&fa_proto, 0);
	if (ret)
		return ret;

	ret = sock_register(&fa_socket_family);
	if (ret)
		proto_unregister(&fa_proto);

	return ret;
}

void fa_socket_stop(void)
{
	sock_unregister(FA_FAMILY);
	proto_unregister(&fa_proto);
}
