package web

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// nodeAddresses reads the addresses of the node, as PID 1 has them: /proc/1/net/fib_trie
// and /proc/1/net/if_inet6, proc_net(5). The second is missing where IPv6 is off.
func nodeAddresses(procfs string) (map[netip.Addr]bool, error) {
	all := map[netip.Addr]bool{}
	err := readAddresses(filepath.Join(procfs, "1/net/fib_trie"), all, fibTrie)
	if err != nil {
		return nil, err
	}
	if err := readAddresses(filepath.Join(procfs, "1/net/if_inet6"), all, ifInet6); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no address", filepath.Join(procfs, "1/net"))
	}
	return all, nil
}

// maxAddressFile bounds one of the files: a node with 10,000 routes has some 1 MiB.
const maxAddressFile = 16 << 20

func readAddresses(file string, all map[netip.Addr]bool, parse func(io.Reader, map[netip.Addr]bool) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	limited := &io.LimitedReader{R: f, N: maxAddressFile}
	if err := parse(limited, all); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if limited.N == 0 {
		return fmt.Errorf("%s is larger than %d MiB", file, maxAddressFile>>20)
	}
	return nil
}

// fibTrie adds the addresses whose line is followed by "/32 host LOCAL".
func fibTrie(r io.Reader, all map[netip.Addr]bool) error {
	lines := bufio.NewScanner(r)
	last := ""
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if address, ok := strings.CutPrefix(line, "|-- "); ok {
			last = address
			continue
		}
		if strings.HasPrefix(line, "/32 ") && strings.HasSuffix(line, " LOCAL") {
			if a, err := netip.ParseAddr(last); err == nil && a.Is4() {
				all[a] = true
			}
		}
	}
	return lines.Err()
}

// ifInet6 adds the address that each line begins with, 32 hexadecimal digits.
func ifInet6(r io.Reader, all map[netip.Addr]bool) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		digits, _, _ := bytes.Cut(lines.Bytes(), []byte{' '})
		var b [16]byte
		if n, err := hex.Decode(b[:], digits[:min(len(digits), 2*len(b))]); n != len(b) || err != nil {
			continue
		}
		all[netip.AddrFrom16(b)] = true
	}
	return lines.Err()
}
