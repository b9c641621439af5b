package main

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// workers connect at the same time.
const workers = 32

// connections opens connections as fast as it can, and goes away.
func connections(target string, until time.Time) string {
	limit()
	opened := flood(target, until, func(c net.Conn) {
		_ = c.(*net.TCPConn).SetLinger(0) // it need not wait for the agent
		_ = c.Close()
	})
	return fmt.Sprintf("%d connections", opened)
}

var paths = []string{"/report", "/metrics", "/livez", "/readyz", "/", "/status.json"}

// requests asks for all there is on each connection, and reads none of it.
func requests(target string, until time.Time) string {
	limit()
	var asked atomic.Int64
	opened := flood(target, until, func(c net.Conn) {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		for i := range 100 {
			if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: nodetune\r\nAuthorization: Bearer %d\r\n\r\n", paths[i%len(paths)], i); err != nil {
				break
			}
			asked.Add(1)
		}
		time.Sleep(time.Second)
		_ = c.Close()
	})
	return fmt.Sprintf("%d requests on %d connections", asked.Load(), opened)
}

func flood(target string, until time.Time, use func(net.Conn)) int64 {
	var opened atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for time.Now().Before(until) {
				c, err := net.DialTimeout("tcp", target, 200*time.Millisecond)
				if err != nil {
					continue
				}
				opened.Add(1)
				use(c)
			}
		})
	}
	all.Wait()
	return opened.Load()
}
