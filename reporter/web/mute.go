package web

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// maxMuted addresses are dropped at once, so that the filter stays short.
const maxMuted = 32

// muter returns a function that has the kernel drop what comes to l from addresses,
// before it makes a connection of it: a socket filter, socket(7) SO_ATTACH_FILTER.
// Newer kernels, such as 6.18, permit it to CAP_NET_ADMIN only: then the agent closes
// what comes, 500 connections a second at most.
func muter(l net.Listener) func([]netip.Prefix) error {
	return func(addrs []netip.Prefix) error {
		tcp, ok := l.(*net.TCPListener)
		if !ok {
			return fmt.Errorf("%T is no TCP socket", l)
		}
		raw, err := tcp.SyscallConn()
		if err != nil {
			return err
		}
		var set error
		if err := raw.Control(func(fd uintptr) { set = attach(int(fd), addrs) }); err != nil {
			return err
		}
		return set
	}
}

func attach(fd int, addrs []netip.Prefix) error {
	if len(addrs) == 0 {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	}
	filter := muteFilter(addrs)
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// Offsets from the header of IP, packet(7) SKF_NET_OFF.
const (
	networkHeader = 0xfff00000
	sourceIPv4    = networkHeader + 12
	sourceIPv6    = networkHeader + 8
)

// muteFilter drops packets whose source is in addrs: each of IPv4, a /64 or one of
// IPv6.
func muteFilter(addrs []netip.Prefix) []unix.SockFilter {
	const (
		loadByte = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret      = unix.BPF_RET | unix.BPF_K
		accept   = 0xffffffff
	)
	v4 := []unix.SockFilter{{Code: loadWord, K: sourceIPv4}}
	var v6 []unix.SockFilter
	for _, p := range addrs {
		if a := p.Addr(); a.Is4() {
			b := a.As4()
			v4 = append(v4, unix.SockFilter{Code: equal, Jf: 1, K: binary.BigEndian.Uint32(b[:])}, unix.SockFilter{Code: ret})
			continue
		}
		b := p.Addr().As16()
		words := p.Bits() / 32
		for i := range words {
			v6 = append(v6,
				unix.SockFilter{Code: loadWord, K: sourceIPv6 + uint32(4*i)},
				unix.SockFilter{Code: equal, Jf: uint8(2*(words-i) - 1), K: binary.BigEndian.Uint32(b[4*i:])})
		}
		v6 = append(v6, unix.SockFilter{Code: ret})
	}
	v4 = append(v4, unix.SockFilter{Code: ret, K: accept})
	filter := []unix.SockFilter{
		{Code: loadByte, K: networkHeader},
		{Code: unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K, K: 4},
		{Code: equal, Jt: uint8(len(v4)), K: 6}, // at most 2 + 2 * maxMuted
	}
	return append(append(append(filter, v4...), v6...), unix.SockFilter{Code: ret, K: accept})
}
