package web

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// An address gets this many connections and requests: a scrape is one of each.
	ratePerSecond = 5
	rateBurst     = 60
	// maxAddresses bounds what is remembered of clients, some 100 bytes each.
	maxAddresses = 1024
	// An address that is refused muteAfter times while it has no rate left is muted
	// for muteFor.
	muteAfter = 50
	muteFor   = 10 * time.Second
	// closeInterval bounds what an address costs that the kernel does not mute: a
	// connection costs some 20 µs to refuse.
	closeInterval = 2 * time.Millisecond
	// ownInterval is how often the addresses of the node are read, while a client
	// is over its rate, or has IPv6.
	ownInterval = 10 * time.Second
)

// Refused counts what was refused to addresses over their rate. A connection of an
// address that the kernel mutes is not counted.
type Refused struct{ connections, requests atomic.Uint64 }

// Counts returns how many connections and requests were refused.
func (r *Refused) Counts() (connections, requests uint64) {
	return r.connections.Load(), r.requests.Load()
}

// rates bounds the connections and requests of each address, so that a pod that
// opens thousands uses its own share of the agent's processor time alone. The addresses
// of the node have no bound: the kubelet's probes come from one of them, and a probe
// that fails restarts the agent. IPv6 counts by /64, of which a host may have all.
type rates struct {
	own     func() (map[netip.Addr]bool, error) // of the node
	mute    func([]netip.Prefix) error          // in the kernel; nil clears
	refused *Refused
	log     *slog.Logger
	now     func() time.Time

	mu       sync.Mutex
	clients  map[netip.Prefix]*client
	muted    map[netip.Prefix]time.Time // until when
	ours     map[netip.Addr]bool
	oursIn   map[netip.Prefix]bool // networks of IPv6 with one of them
	oursAt   time.Time
	oursErr  error
	muteErr  error
	logged   time.Time
	forgotAt time.Time
}

// client is an address with what it may still have.
type client struct {
	left    float64
	at      time.Time
	refused int // since it had all of its rate
}

func newRates(own func() (map[netip.Addr]bool, error), mute func([]netip.Prefix) error, refused *Refused, log *slog.Logger) *rates {
	return &rates{own: own, mute: mute, refused: refused, log: log, now: time.Now, clients: map[netip.Prefix]*client{}, muted: map[netip.Prefix]time.Time{}}
}

// network is what of addr counts as one client. The pods of a node often have addresses of
// one /64 with the node itself, which must not be muted with one of them: there each
// address counts.
func (r *rates) network(addr netip.Addr, now time.Time) netip.Prefix {
	if addr.Is6() {
		r.readOwn(now)
		wide, _ := addr.Prefix(64) // bits fit
		if !r.oursIn[wide] {
			return wide
		}
	}
	return netip.PrefixFrom(addr, addr.BitLen())
}

// remote is the address of a client, without the zone of IPv6.
func remote(addr string) (netip.Addr, bool) {
	a, err := netip.ParseAddrPort(addr)
	return a.Addr().Unmap().WithZone(""), err == nil
}

// allow takes one from what addr may have, and reports whether there was one. With it
// comes whether the kernel refuses the next ones.
func (r *rates) allow(addr netip.Addr) (ok, muted bool) {
	if addr.IsLoopback() {
		return true, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	r.unmute(now)
	key := r.network(addr, now)
	c := r.clients[key]
	if c == nil {
		r.forget(now)
		if len(r.clients) >= maxAddresses {
			return true, false // as many clients as that are no single one's doing
		}
		c = &client{left: rateBurst, at: now}
		r.clients[key] = c
	}
	c.refill(now)
	if c.left >= 1 {
		c.left--
		return true, false
	}
	if r.isOwn(addr, now) {
		return true, false
	}
	c.refused++
	if c.refused < muteAfter {
		return false, false
	}
	return false, r.silence(key, now)
}

func (c *client) refill(now time.Time) {
	if now.After(c.at) {
		c.left = min(rateBurst, c.left+now.Sub(c.at).Seconds()*ratePerSecond)
	}
	c.at = now
	if c.left == rateBurst {
		c.refused = 0
	}
}

// forget removes the clients that have all of their rate, once a second at most.
func (r *rates) forget(now time.Time) {
	if len(r.clients) < maxAddresses || now.Sub(r.forgotAt) < time.Second && !now.Before(r.forgotAt) {
		return
	}
	r.forgotAt = now
	for key, c := range r.clients {
		if c.refill(now); c.left == rateBurst {
			delete(r.clients, key)
		}
	}
}

// isOwn reports whether addr is one of the node. Where these cannot be read, each is.
func (r *rates) isOwn(addr netip.Addr, now time.Time) bool {
	r.readOwn(now)
	return r.oursErr != nil || r.ours[addr]
}

func (r *rates) readOwn(now time.Time) {
	if r.oursAt.IsZero() || now.Sub(r.oursAt) >= ownInterval || now.Before(r.oursAt) {
		ours, err := r.own()
		if err != nil && r.oursErr == nil {
			r.log.Warn("cannot read the addresses of this node, connections have no limit by address", "err", err)
		}
		r.ours, r.oursAt, r.oursErr, r.oursIn = ours, now, err, map[netip.Prefix]bool{}
		for a := range ours {
			if p, err := a.Prefix(64); err == nil {
				r.oursIn[p] = true
			}
		}
	}
}

// silence has the kernel drop what comes from key for a while, and reports whether it does.
func (r *rates) silence(key netip.Prefix, now time.Time) bool {
	if now.Sub(r.logged) >= time.Minute || now.Before(r.logged) {
		r.logged = now
		r.log.Warn("an address opens more connections or requests than one may; refusing them", "address", key.Addr(), "per_second", ratePerSecond, "burst", rateBurst)
	}
	if len(r.muted) >= maxMuted {
		return false
	}
	r.muted[key] = now.Add(muteFor)
	r.setMuted()
	// Nobody else may connect, who would end it.
	time.AfterFunc(muteFor, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.unmute(r.now())
	})
	return r.muteErr == nil
}

// unmute ends what has lasted long enough.
func (r *rates) unmute(now time.Time) {
	before := len(r.muted)
	for key, until := range r.muted {
		if !now.Before(until) || until.Sub(now) > muteFor {
			delete(r.muted, key)
		}
	}
	if len(r.muted) != before {
		r.setMuted()
	}
}

func (r *rates) setMuted() {
	all := make([]netip.Prefix, 0, len(r.muted))
	for key := range r.muted {
		all = append(all, key)
	}
	err := r.mute(all)
	if err != nil && r.muteErr == nil && !errors.Is(err, net.ErrClosed) {
		r.log.Info("the kernel may not drop what an address sends, so the agent refuses it", "err", err)
	}
	r.muteErr = err
}

// admit reports whether conn may be served, and closes it where it may not.
func (r *rates) admit(conn net.Conn) bool {
	addr, known := remote(conn.RemoteAddr().String())
	if !known {
		return true
	}
	ok, muted := r.allow(addr)
	if ok {
		return true
	}
	r.refused.connections.Add(1)
	if tcp, is := conn.(*net.TCPConn); is {
		_ = tcp.SetLinger(0) // a reset: nothing of it stays
	}
	_ = conn.Close()
	if !muted {
		time.Sleep(closeInterval)
	}
	return false
}

// requests answers requests of addresses over their rate with 429.
func (r *rates) requests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if addr, known := remote(req.RemoteAddr); known {
			if ok, _ := r.allow(addr); !ok {
				r.refused.requests.Add(1)
				w.Header().Set("Retry-After", "10")
				w.Header().Set("Connection", "close")
				http.Error(w, "nodetune answers as many requests of one address as it may; try again later", http.StatusTooManyRequests)
				return
			}
		}
		next.ServeHTTP(w, req)
	})
}
