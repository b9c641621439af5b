package web

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// maxConnections of one address that is listened on. Prometheus and the kubelet
	// need one or two each; a connection takes some 10 KiB here.
	maxConnections = 64
	// socketBuffer bounds what the kernel keeps of an answer that is not read, which
	// counts as memory of the agent's cgroup (the kernel doubles the value, socket(7)).
	socketBuffer = 32 << 10
)

// connections is a listener that has at most maxConnections open. It accepts
// every connection and closes an older one for it: the oldest one that waits for
// a request, of the address that has most. So a client that opens thousands
// closes its own, and the kubelet's probe gets in. One of an address over its rate
// is refused.
type connections struct {
	net.Listener
	rates *rates

	start    sync.Once
	accepted chan net.Conn
	end      sync.Once
	ended    chan struct{}

	mu   sync.Mutex
	open []*connection // the oldest first
}

type connection struct {
	net.Conn
	all    *connections
	host   string
	active bool // a request is being answered

	first   [1]byte
	pending bool // first was read and not returned yet
}

// Accept is of [net.Listener].
func (c *connections) Accept() (net.Conn, error) {
	raw, err := c.accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(socketBuffer)
		_ = tcp.SetReadBuffer(socketBuffer)
	}
	host, _, _ := net.SplitHostPort(raw.RemoteAddr().String())
	conn := &connection{Conn: raw, all: c, host: host}
	c.mu.Lock()
	c.open = append(c.open, conn)
	var victim *connection
	if len(c.open) > maxConnections {
		victim = c.victim()
		c.remove(victim)
	}
	c.mu.Unlock()
	if victim != nil {
		_ = victim.Conn.Close()
	}
	return conn, nil
}

// accept waits for a connection of one of the sockets.
func (c *connections) accept() (net.Conn, error) {
	c.start.Do(func() {
		c.accepted, c.ended = make(chan net.Conn), make(chan struct{})
		sockets := []net.Listener{c.Listener}
		if q, ok := c.Listener.(*queues); ok {
			sockets = []net.Listener{q.own, q.Listener}
		}
		for _, l := range sockets {
			go c.acceptFrom(l)
		}
	})
	select {
	case raw := <-c.accepted:
		return raw, nil
	case <-c.ended:
		return nil, net.ErrClosed
	}
}

// acceptFrom accepts from one socket: what it refuses holds up nobody at the other one. Descriptors
// and epoll watches may be used up on a node that nodetune is to help (EMFILE, ENFILE,
// ENOSPC): it goes on until the listener is closed.
func (c *connections) acceptFrom(l net.Listener) {
	const shortest = 5 * time.Millisecond
	for wait := shortest; ; {
		raw, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			c.end.Do(func() { close(c.ended) })
			return
		case err != nil:
			time.Sleep(wait)
			wait = min(2*wait, time.Second)
		case c.rates.admit(raw):
			wait = shortest
			select {
			case c.accepted <- raw:
			case <-c.ended:
				_ = raw.Close()
				return
			}
		default:
			wait = shortest
		}
	}
}

// victim returns the connection to close for the last one.
func (c *connections) victim() *connection {
	count := map[string]int{}
	for _, o := range c.open {
		count[o.host]++
	}
	most := ""
	for host, n := range count {
		if most == "" || n > count[most] {
			most = host
		}
	}
	var oldest *connection
	for _, o := range c.open[:len(c.open)-1] {
		if o.host != most {
			continue
		}
		if !o.active {
			return o
		}
		if oldest == nil {
			oldest = o
		}
	}
	return oldest // with 64 others, the address that has most has at least one of them
}

func (c *connections) remove(conn *connection) {
	for i, o := range c.open {
		if o == conn {
			c.open = append(c.open[:i], c.open[i+1:]...)
			return
		}
	}
}

// stateChanged is a [http.Server.ConnState].
func stateChanged(conn net.Conn, state http.ConnState) {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // of TLS
		conn = t.NetConn()
	}
	if c, ok := conn.(*connection); ok {
		c.all.mu.Lock()
		c.active = state == http.StateActive
		c.all.mu.Unlock()
	}
}

// Close is of [net.Conn].
func (c *connection) Close() error {
	c.all.mu.Lock()
	c.all.remove(c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}

// tlsHandshake is the first byte of a TLS connection (RFC 8446, ContentType
// handshake), which no HTTP request begins with.
const tlsHandshake = 22

// isTLS waits until deadline for the first byte.
func (c *connection) isTLS(deadline time.Time) (bool, error) {
	_ = c.SetReadDeadline(deadline)
	_, err := c.Conn.Read(c.first[:])
	_ = c.SetReadDeadline(time.Time{})
	c.pending = err == nil
	return c.first[0] == tlsHandshake, err
}

// Read is of [net.Conn].
func (c *connection) Read(b []byte) (int, error) {
	if c.pending && len(b) > 0 {
		c.pending = false
		b[0] = c.first[0]
		return 1, nil
	}
	return c.Conn.Read(b)
}

// split sorts the connections of l into those that begin with TLS and others.
type split struct {
	l          net.Listener
	tls, plain chan net.Conn
	done       chan struct{}
	end        sync.Once
	err        error
}

func newSplit(l net.Listener) *split {
	return &split{l: l, tls: make(chan net.Conn), plain: make(chan net.Conn), done: make(chan struct{})}
}

// run accepts until l is closed.
func (s *split) run() {
	for {
		conn, err := s.l.Accept()
		if err != nil {
			s.close(err)
			return
		}
		go func() { // at most maxConnections
			c := conn.(*connection)
			encrypted, err := c.isTLS(time.Now().Add(headerTimeout))
			to := s.plain
			if encrypted {
				to = s.tls
			}
			if err != nil {
				_ = c.Close()
				return
			}
			select {
			case to <- c:
			case <-s.done:
				_ = c.Close()
			}
		}()
	}
}

func (s *split) close(err error) {
	s.end.Do(func() {
		s.err = err
		close(s.done)
		_ = s.l.Close()
	})
}

// half is the listener of one kind of connections.
type half struct {
	*split
	conns chan net.Conn
}

func (h half) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, h.err
	}
}

func (h half) Close() error {
	h.close(net.ErrClosed)
	return nil
}

func (h half) Addr() net.Addr { return h.l.Addr() }
