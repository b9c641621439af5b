package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// testRates has a clock of its own, and records what the kernel would drop.
func testRates(own ...string) (r *rates, now *time.Time, muted *[]netip.Prefix) {
	now, muted = new(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)), &[]netip.Prefix{}
	ours := map[netip.Addr]bool{}
	for _, a := range own {
		ours[netip.MustParseAddr(a)] = true
	}
	r = newRates(func() (map[netip.Addr]bool, error) { return ours, nil }, func(all []netip.Prefix) error {
		*muted = all
		return nil
	}, new(Refused), slog.New(slog.DiscardHandler))
	r.now = func() time.Time { return *now }
	return r, now, muted
}

// admitted is how many of n are allowed at once.
func admitted(r *rates, addr string, n int) (ok int) {
	for range n {
		if is, _ := r.allow(netip.MustParseAddr(addr)); is {
			ok++
		}
	}
	return ok
}

func TestRates(t *testing.T) {
	r, now, muted := testRates("10.0.0.1", "fd00::1")
	for addr, want := range map[string]int{
		"10.0.0.1":  1000, // the node: the kubelet's probes
		"fd00::1":   1000,
		"127.0.0.1": 1000,
		"::1":       1000,
		"10.0.0.7":  rateBurst,
		"fd00:1::1": rateBurst,
		"fd00::7":   rateBurst, // a pod in the network of the node
	} {
		if got := admitted(r, addr, 1000); got != want {
			t.Errorf("%s: %d of 1,000 are allowed, want %d", addr, got, want)
		}
	}
	if got := admitted(r, "fd00:1::2", 10); got != 0 {
		t.Errorf("another address of the same /64: %d are allowed", got)
	}
	if got := admitted(r, "fd00::8", 10); got != 10 {
		t.Errorf("another pod in the network of the node: %d of 10 are allowed", got)
	}
	if got := admitted(r, "10.0.0.8", 10); got != 10 {
		t.Errorf("another address: %d of 10 are allowed", got)
	}
	slices.SortFunc(*muted, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	if got := fmt.Sprint(*muted); got != "[10.0.0.7/32 fd00::7/128 fd00:1::/64]" {
		t.Errorf("muted are %s", got)
	}

	*now = now.Add(muteFor)
	if got := admitted(r, "10.0.0.7", 1000); got != int(muteFor.Seconds())*ratePerSecond {
		t.Errorf("after %v %d are allowed", muteFor, got)
	}
	*now = now.Add(time.Hour)
	admitted(r, "10.0.0.8", 1)
	if len(*muted) != 0 {
		t.Errorf("still muted: %v", *muted)
	}
	*now = now.Add(-2 * time.Hour) // the clock was set back
	if got := admitted(r, "10.0.0.9", 1000); got != rateBurst {
		t.Errorf("with a clock that was set back %d are allowed", got)
	}
}

// An address is muted for a while also where nobody else connects.
func TestMuteEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, muted := testRates("10.0.0.1")
		r.now = time.Now
		are := func() []netip.Prefix {
			r.mu.Lock()
			defer r.mu.Unlock()
			return *muted
		}
		admitted(r, "10.0.0.7", 1000)
		if all := are(); len(all) != 1 {
			t.Fatalf("muted are %v", all)
		}
		time.Sleep(muteFor + time.Second)
		synctest.Wait()
		if all := are(); len(all) != 0 {
			t.Errorf("still muted: %v", all)
		}
	})
}

// What scrapes: three Prometheus servers, each 15 s, with a new connection each time.
func TestScrapesHaveRate(t *testing.T) {
	r, now, _ := testRates("10.0.0.1")
	for range 1000 {
		*now = now.Add(15 * time.Second)
		if got := admitted(r, "10.0.0.7", 6); got != 6 {
			t.Fatalf("%d of 6 are allowed", got)
		}
	}
}

// However many addresses there are, their number in memory has a bound, and a new one
// is served.
func TestManyAddresses(t *testing.T) {
	r, now, muted := testRates("10.0.0.1")
	for i := range 10 * maxAddresses {
		addr := netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})
		for range rateBurst + 2*muteAfter {
			r.allow(addr)
		}
	}
	if len(r.clients) > maxAddresses || len(*muted) > maxMuted {
		t.Errorf("%d addresses are remembered and %d muted", len(r.clients), len(*muted))
	}
	if got := admitted(r, "10.0.0.7", 1); got != 1 {
		t.Error("a new address is refused")
	}
	*now = now.Add(time.Minute)
	admitted(r, "10.0.0.7", 1)
	if len(r.clients) != 1 {
		t.Errorf("%d addresses are remembered after a minute", len(r.clients))
	}
}

// Where the addresses of the node are not known, none is refused: it may be the kubelet's.
func TestNodeAddressesUnknown(t *testing.T) {
	r, _, _ := testRates()
	r.own = func() (map[netip.Addr]bool, error) { return nil, errors.New("denied") }
	if got := admitted(r, "10.0.0.7", 1000); got != 1000 {
		t.Errorf("%d of 1,000 are allowed", got)
	}
}

func TestNodeAddresses(t *testing.T) {
	dir := t.TempDir()
	disktest.Must(t, os.MkdirAll(filepath.Join(dir, "1/net"), 0o755))
	if _, err := nodeAddresses(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	disktest.WriteFile(t, filepath.Join(dir, "1/net/fib_trie"), `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.244.0.0/24 2 0 2
        |-- 10.244.0.0
           /24 link UNICAST
        |-- 10.244.0.1
           /32 host LOCAL
        |-- 10.244.0.9
           /32 link UNICAST
        |-- 10.244.0.255
           /32 link BROADCAST
`)
	got, err := nodeAddresses(dir) // IPv6 is off
	if err != nil || len(got) != 1 || !got[netip.MustParseAddr("10.244.0.1")] {
		t.Errorf("got %v, %v", got, err)
	}
	disktest.WriteFile(t, filepath.Join(dir, "1/net/if_inet6"), "fd000000000000000000000000000002 04 40 00 82     eth0\nshort 1\nzz000000000000000000000000000002 04 40 00 82 eth1\n")
	if got, err := nodeAddresses(dir); err != nil || len(got) != 2 || !got[netip.MustParseAddr("fd00::2")] {
		t.Errorf("got %v, %v", got, err)
	}
	disktest.WriteFile(t, filepath.Join(dir, "1/net/fib_trie"), "")
	disktest.WriteFile(t, filepath.Join(dir, "1/net/if_inet6"), "")
	if got, err := nodeAddresses(dir); err == nil {
		t.Errorf("without an address: %v", got)
	}
	// This machine: each address of its interfaces is found.
	got, err = nodeAddresses("/proc")
	disktest.Must(t, err)
	all, err := net.InterfaceAddrs()
	disktest.Must(t, err)
	for _, a := range all {
		if p := netip.MustParsePrefix(a.String()); !got[p.Addr()] {
			t.Errorf("%v of this machine is missing in %v", p.Addr(), got)
		}
	}
}

func FuzzNodeAddresses(f *testing.F) {
	f.Add("  |-- 10.0.0.1\n /32 host LOCAL\n", "fd000000000000000000000000000002 04\n")
	f.Fuzz(func(t *testing.T, trie, inet6 string) {
		all := map[netip.Addr]bool{}
		_ = fibTrie(strings.NewReader(trie), all)
		for a := range all {
			if !a.Is4() || !strings.Contains(trie, a.String()) {
				t.Errorf("%v is not in %q", a, trie)
			}
		}
		_ = ifInet6(strings.NewReader(inet6), all)
		if len(all) > strings.Count(trie, "LOCAL")+strings.Count(inet6, "\n")+1 {
			t.Errorf("%d addresses", len(all))
		}
	})
}

// inOwnNetwork runs the test again in a network namespace of its own, and reports whether
// this is there.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	privtest.Root(t)
	if os.Getenv("NODETUNE_TEST_HELPER") == t.Name() {
		disktest.Run(t, "ip", "link", "set", "lo", "up")
		return true
	}
	exe, err := os.Executable()
	disktest.Must(t, err)
	cmd := exec.Command("unshare", "--net", exe, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "NODETUNE_TEST_HELPER="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}

// Where the kernel may not drop packets, a client that connects and goes away as fast as it
// can fills the queue of the socket. The probes of the node have one of their own, and are
// answered in time.
func TestProbesBesideAFloodForReal(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for _, addr := range []string{"10.77.0.1/24", "10.77.0.2/24", "10.77.0.3/24"} {
		disktest.Run(t, "ip", "addr", "add", addr, "dev", "lo")
	}
	l, err := listen(t.Context(), "[::]:0")
	disktest.Must(t, err)
	ours := map[netip.Addr]bool{netip.MustParseAddr("10.77.0.1"): true}
	disktest.Must(t, l.attach(choosing(ours)))
	refused := new(Refused)
	r := newRates(func() (map[netip.Addr]bool, error) { return ours, nil }, func([]netip.Prefix) error { return unix.EPERM }, refused, slog.New(slog.DiscardHandler))
	s := &http.Server{Handler: r.requests(ok("alive"))}
	go func() { _ = s.Serve(&connections{Listener: l, rates: r}) }()
	t.Cleanup(func() { _ = s.Close() })
	to := net.JoinHostPort("10.77.0.1", fmt.Sprint(l.Addr().(*net.TCPAddr).Port))

	ctx, end := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	var tried atomic.Int64
	for range 16 {
		flood.Go(func() {
			dialer := net.Dialer{Timeout: 100 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 77, 0, 2)}}
			for ctx.Err() == nil {
				tried.Add(1)
				if c, err := dialer.Dial("tcp", to); err == nil {
					_ = c.(*net.TCPConn).SetLinger(0)
					_ = c.Close()
				}
			}
		})
	}
	probe := func(from string) bool {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", to)
		}}}
		answer, err := client.Get("http://nodetune/livez")
		if err != nil {
			return false
		}
		return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	}
	time.Sleep(2 * time.Second) // the queue is full
	failed := 0
	for range 20 {
		if !probe("10.77.0.1") {
			failed++
		}
		time.Sleep(50 * time.Millisecond)
	}
	other := probe("10.77.0.3")
	end()
	flood.Wait()
	connections, _ := refused.Counts()
	t.Logf("%d connections tried, %d refused by the agent; %d of 20 probes of the node failed; one of another pod: %v", tried.Load(), connections, failed, other)
	if failed > 0 {
		t.Errorf("%d of 20 probes of the node failed", failed)
	}
	if connections == 0 || connections > 5*1000 {
		t.Errorf("the agent refused %d connections in some seconds", connections)
	}
}

// A real server in a network of its own. Clients open as many connections as they can:
// the node is served each time, and of the others the kernel drops the rest.
func TestFloodForReal(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for _, addr := range []string{"10.77.0.1/24", "10.77.0.2/24", "10.77.0.3/24", "fd77::1/64", "fd77::2/64", "fd77:1::1/64"} {
		args := []string{"addr", "add", addr, "dev", "lo"}
		if strings.Contains(addr, ":") {
			args = append(args, "nodad")
		}
		disktest.Run(t, "ip", args...)
	}
	l, err := listen(t.Context(), "[::]:0")
	disktest.Must(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	ours := map[netip.Addr]bool{netip.MustParseAddr("10.77.0.1"): true, netip.MustParseAddr("fd77::1"): true}
	disktest.Must(t, l.attach(choosing(ours)))
	refused := new(Refused)
	r := newRates(func() (map[netip.Addr]bool, error) {
		return ours, nil
	}, muter(l.Listener), refused, slog.New(slog.DiscardHandler))
	s := &http.Server{Handler: r.requests(ok("alive"))}
	go func() { _ = s.Serve(&connections{Listener: l, rates: r}) }()
	t.Cleanup(func() { _ = s.Close() })

	tried := func(from, to string, n int) (served int) {
		dialer := net.Dialer{Timeout: 20 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", net.JoinHostPort(to, fmt.Sprint(port)))
		}}}
		for range n {
			answer, err := client.Get("http://nodetune/livez")
			if err != nil {
				continue
			}
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				served++
			}
		}
		return served
	}
	began := time.Now()
	for _, c := range []struct {
		from, to    string
		least, most int
	}{
		{"10.77.0.2", "10.77.0.1", 20, 60}, // one is taken for the connection, one for the request
		{"fd77:1::1", "fd77::1", 20, 60},
		{"fd77::2", "fd77::1", 20, 60}, // in the network of the node, which is served
		{"10.77.0.1", "10.77.0.1", 150, 150},
		{"fd77::1", "fd77::1", 150, 150},
		{"10.77.0.3", "10.77.0.1", 20, 60}, // the filter is not in the way of another
	} {
		if served := tried(c.from, c.to, 150); served < c.least || served > c.most {
			t.Errorf("%s: %d of 150 are served, want %d to %d", c.from, served, c.least, c.most)
		}
	}
	connections, requests := refused.Counts()
	t.Logf("refused %d connections and %d requests in %v, %d goroutines; muted %v: %v", connections, requests, time.Since(began), runtime.NumGoroutine(), r.muted, r.muteErr)
	if connections+requests < 4*muteAfter || connections > 4*(muteAfter+20) {
		t.Errorf("the agent refused %d connections and %d requests: the kernel drops nothing", connections, requests)
	}
}
