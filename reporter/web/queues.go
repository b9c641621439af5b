package web

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// queues are two sockets that listen on one address: one for the node itself, one for
// everybody else. A client that connects faster than the agent refuses it fills the queue
// of its socket. In one queue, the kubelet's probes would wait behind it, and fail: the
// agent would be restarted.
type queues struct {
	net.Listener // for everybody else
	own          net.Listener
}

// Close closes both.
func (q *queues) Close() error { return errors.Join(q.own.Close(), q.Listener.Close()) }

// listen opens sockets of TCP alone: the kernel filters none of Multipath TCP, see muter.
func listen(ctx context.Context, addr string) (*queues, error) {
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var set error
		err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return errors.Join(err, set)
	}}
	c.SetMultipathTCP(false)
	own, err := c.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	others, err := c.Listen(ctx, "tcp", own.Addr().String()) // the port may have been 0
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	return &queues{others, own}, nil
}

// chooseInterval is how often the addresses of the node are read for the program that
// chooses. A network plugin adds one with the first pod.
const chooseInterval = 30 * time.Second

// keepChoosing has the kernel choose the socket by the addresses of the node, until ctx is
// done. Where they are not known it chooses any.
func (q *queues) keepChoosing(ctx context.Context, own func() (map[netip.Addr]bool, error), log *slog.Logger) {
	var before []unix.SockFilter
	for ctx.Err() == nil {
		if ours, err := own(); err == nil {
			if program := choosing(ours); !slices.Equal(program, before) {
				if err := q.attach(program); err != nil {
					log.Debug("the node has no queue of its own for connections", "err", err)
				}
				before = program
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(chooseInterval):
		}
	}
}

// attach sets the program, socket(7) SO_ATTACH_REUSEPORT_CBPF. It needs no capability, and
// Linux 4.5.
func (q *queues) attach(program []unix.SockFilter) error {
	raw, err := q.own.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
	return errors.Join(err, set)
}

// What a program of 4,096 instructions has room for. With more, some of the node's
// addresses share the queue of everybody else.
const (
	maxOwnIPv4 = 900 // kube-proxy gives a node one for each Service in the mode ipvs
	maxOwnIPv6 = 200
)

// choosing returns a program that is the index of a socket, in the order in which they
// were bound: 0 where the source is one of ours.
func choosing(ours map[netip.Addr]bool) []unix.SockFilter {
	const (
		loadByte = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	)
	own := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	others := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 1}
	all := make([]netip.Addr, 0, len(ours))
	for a := range ours {
		all = append(all, a)
	}
	slices.SortFunc(all, netip.Addr.Compare) // those of IPv4 first
	v4 := []unix.SockFilter{{Code: loadWord, K: sourceIPv4}}
	var v6 []unix.SockFilter
	n4, n6 := 0, 0
	for _, a := range all {
		switch {
		case a.Is4() && n4 < maxOwnIPv4:
			n4++
			b := a.As4()
			v4 = append(v4, unix.SockFilter{Code: equal, Jf: 1, K: binary.BigEndian.Uint32(b[:])}, own)
		case a.Is6() && n6 < maxOwnIPv6:
			n6++
			b := a.As16()
			for i := range 4 {
				v6 = append(v6,
					unix.SockFilter{Code: loadWord, K: sourceIPv6 + uint32(4*i)},
					unix.SockFilter{Code: equal, Jf: uint8(2*(4-i) - 1), K: binary.BigEndian.Uint32(b[4*i:])})
			}
			v6 = append(v6, own)
		}
	}
	v4 = append(v4, others)
	program := []unix.SockFilter{
		{Code: loadByte, K: networkHeader},
		{Code: unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K, K: 4},
		{Code: equal, Jf: 1, K: 6}, // is it IPv6?
		{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(len(v4))},
	}
	return append(append(append(program, v4...), v6...), others)
}
