package web

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/page"
)

func ok(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

// handlers has a report of some 3 MB.
func handlers(policy *Policy) Handlers {
	usage := inotify.Usage{}
	for i := range 5000 {
		usage.Processes = append(usage.Processes, inotify.Process{PID: i, Comm: "collector", Cgroup: strings.Repeat("x", 300)})
	}
	s := reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{Value: usage, At: time.Now()}}
	return Handlers{
		Metrics: ok("nodetune_up 1\n"), Live: ok("alive"), Ready: ok("ready"),
		Report: &Report{Snapshot: func() reporter.Snapshot { return s }, LogPaths: func() []string { return []string{"/var/log"} }},
		Page: &Page{Status: func(now time.Time) page.Status {
			return page.NewStatus(page.Input{Snapshot: s, Now: now, Policy: inotify.DefaultPolicy(), StaleAfter: time.Minute, Node: "worker-3"})
		}},
		Policy: func() Policy { return *policy },
		Authorize: func(_ context.Context, token, path string) (int, string) {
			if token == "good" && path == "/report" || token == "page" && path == "/" {
				return http.StatusOK, ""
			}
			return http.StatusForbidden, "no"
		},
	}
}

// start serves h on a port of the loopback interface.
func start(t *testing.T, h Handlers, configFile string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Server{ConfigFile: configFile, Procfs: "/proc"}.serve(ctx, l, h, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// get makes a request over a connection of its own.
func get(t *testing.T, url string, header ...string) (int, string) {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	b, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b)
}

func TestAccess(t *testing.T) {
	for _, tt := range []struct {
		report ReportAccess
		remote string
		path   string
		token  string
		want   int
		text   string
	}{
		{Closed, "10.1.2.3:5", "/report", "", 404, "web.report"},
		{Closed, "10.1.2.3:5", "/report", "good", 404, "web.report"},
		{Closed, "10.1.2.3:5", "/", "", 404, "web.report"},
		{Closed, "[fe80::1]:5", "/report", "", 404, "web.report"},
		{Closed, "unknown", "/report", "", 404, "web.report"},
		{Closed, "127.0.0.1:5", "/report", "", 200, "collector"},
		{Closed, "[::1]:5", "/report", "", 200, "collector"},
		{Closed, "[::ffff:127.0.0.1]:5", "/report", "", 200, "collector"},
		{Closed, "127.0.0.1:5", "/", "", 200, "<h1>Starting"},
		{Closed, "127.0.0.1:5", "/status.json", "", 200, `"kind": "NodeStatus"`},
		{Closed, "10.1.2.3:5", "/status.json", "", 404, "web.report"},
		{Closed, "10.1.2.3:5", "/status.json", "good", 404, "web.report"},
		{Closed, "127.0.0.1:5", "/status.json/", "", 404, ""},
		{Closed, "10.1.2.3:5", "/metrics", "", 200, "nodetune_up"},
		{Closed, "10.1.2.3:5", "/livez", "", 200, "alive"},
		{Closed, "10.1.2.3:5", "/readyz", "", 200, "ready"},
		{Closed, "10.1.2.3:5", "/other", "", 404, ""},
		{Authorised, "10.1.2.3:5", "/report", "", 401, "Bearer TOKEN"},
		{Authorised, "10.1.2.3:5", "/report", "bad", 403, "no"},
		{Authorised, "10.1.2.3:5", "/report", "good", 200, "collector"},
		{Authorised, "10.1.2.3:5", "/", "good", 403, "no"},
		{Authorised, "10.1.2.3:5", "/", "", 401, "Bearer TOKEN"},
		{Authorised, "10.1.2.3:5", "/status.json", "", 401, "Bearer TOKEN"},
		{Authorised, "10.1.2.3:5", "/status.json", "bad", 403, "no"},
		{Authorised, "10.1.2.3:5", "/", "page", 200, "<h1>Starting"},
		{Authorised, "10.1.2.3:5", "/status.json", "page", 200, "NodeStatus"},
		{Authorised, "10.1.2.3:5", "/status.json", "good", 403, "no"},
		{Authorised, "10.1.2.3:5", "/report", "page", 403, "no"},
		{Authorised, "127.0.0.1:5", "/report", "", 200, "collector"},
		{Authorised, "10.1.2.3:5", "/metrics", "", 200, "nodetune_up"},
		{Open, "10.1.2.3:5", "/report", "", 200, "collector"},
		{Open, "10.1.2.3:5", "/", "", 200, "<h1>Starting"},
		{Open, "10.1.2.3:5", "/status.json", "", 200, "worker-3"},
	} {
		t.Run(fmt.Sprint(tt.report, tt.remote, tt.path, tt.token), func(t *testing.T) {
			h := handlers(&Policy{Report: tt.report})
			r := httptest.NewRequest(http.MethodGet, tt.path, nil)
			r.RemoteAddr = tt.remote
			if tt.token != "" {
				r.Header.Set("Authorization", "Bearer "+tt.token)
			}
			w := httptest.NewRecorder()
			h.inFrontOf(h.behindPassword()).ServeHTTP(w, r)
			if w.Code != tt.want || !strings.Contains(w.Body.String(), tt.text) {
				t.Errorf("got %d %.200q, want %d %q", w.Code, w.Body, tt.want, tt.text)
			}
		})
	}
}

func TestAuthorisedNeedsAnAPIServer(t *testing.T) {
	h := handlers(&Policy{Report: Authorised})
	h.Authorize = nil
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/report", nil)
	r.Header.Set("Authorization", "Bearer good")
	h.inFrontOf(h.behindPassword()).ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "--node-name") {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}

// webConfig writes a configuration of exporter-toolkit with a certificate.
func webConfig(t *testing.T, clientAuth string, passwords bool) string {
	t.Helper()
	dir := t.TempDir()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	if clientAuth != "plain" {
		text = "tls_server_config:\n  cert_file: c.pem\n  key_file: k.pem\n"
	}
	if clientAuth == "RequireAndVerifyClientCert" {
		text += "  client_auth_type: " + clientAuth + "\n  client_ca_file: c.pem\n"
	}
	if passwords { // alice, "fakepassword"
		text += "basic_auth_users:\n  alice: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi\n"
	}
	for name, b := range map[string][]byte{
		"c.pem":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		"k.pem":    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"web.yaml": []byte(text),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "web.yaml")
}

// A kubelet has no password and no certificate.
func TestProbesNeedNoPassword(t *testing.T) {
	for _, tt := range []struct {
		clientAuth       string
		passwords        bool
		scheme           string
		probe            int
		metrics          int
		text             string
		metricsWithToken int // a token is no password
	}{
		{"plain", false, "http", 200, 200, "", 200},
		{"plain", true, "http", 200, 401, "Unauthorized", 401},
		{"", false, "https", 200, 200, "", 200},
		{"", false, "http", 200, 400, "HTTPS", 400},
		{"", true, "https", 200, 401, "Unauthorized", 401},
		{"", true, "http", 200, 400, "HTTPS", 400},
		{"RequireAndVerifyClientCert", false, "http", 200, 400, "HTTPS", 400},
		{"RequireAndVerifyClientCert", false, "https", 0, 0, "certificate required", 0},
	} {
		t.Run(fmt.Sprint(tt.clientAuth, tt.passwords, tt.scheme), func(t *testing.T) {
			h := handlers(&Policy{Report: Authorised})
			addr := start(t, h, webConfig(t, tt.clientAuth, tt.passwords))
			for _, path := range []string{"/livez", "/readyz"} {
				if code, body := get(t, tt.scheme+"://"+addr+path); code != tt.probe {
					t.Errorf("%s: %d %s, want %d", path, code, body, tt.probe)
				}
			}
			if code, body := get(t, tt.scheme+"://"+addr+"/metrics"); code != tt.metrics || !strings.Contains(body, tt.text) {
				t.Errorf("/metrics: %d %s, want %d %s", code, body, tt.metrics, tt.text)
			}
			if code, body := get(t, tt.scheme+"://"+addr+"/metrics", "Authorization", "Bearer good"); code != tt.metricsWithToken {
				t.Errorf("/metrics with a token: %d %s", code, body)
			}
			if tt.passwords && tt.scheme == "https" {
				if code, _ := get(t, "https://"+addr+"/report", "Authorization", "Bearer good"); code != http.StatusOK {
					t.Errorf("/report with a token: %d", code)
				}
				if code, body := get(t, "https://"+addr+"/report"); code != http.StatusUnauthorized {
					t.Errorf("/report without one: %d %s", code, body)
				}
			}
		})
	}
}

// memory is what the Go runtime has from the kernel and did not give back, in MiB.
func memory() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int((m.HeapInuse + m.StackInuse) >> 20)
}

// Whatever clients do, probes are answered, and memory does not follow their number.
func TestManyClients(t *testing.T) {
	const probeTime = 5 * time.Second
	for _, tt := range []struct {
		name    string
		clients int
		open    func(t *testing.T, addr string) net.Conn
	}{
		{"10,000 connections that send nothing", 10_000, dial},
		{"600 readers of the report that do not read", 600, func(t *testing.T, addr string) net.Conn {
			c := dial(t, addr)
			if c != nil {
				_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
				_, _ = io.WriteString(c, "GET /report HTTP/1.1\r\nHost: a\r\n\r\n")
			}
			return c
		}},
		{"600 headers that do not end", 600, func(t *testing.T, addr string) net.Conn {
			c := dial(t, addr)
			if c != nil {
				_, _ = io.WriteString(c, "GET /metrics HTTP/1.1\r\nA: "+strings.Repeat("x", 8<<10))
			}
			return c
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && tt.clients > 1000 {
				t.Skip("opens 10,000 connections")
			}
			policy := &Policy{Report: Open}
			addr := start(t, handlers(policy), "")
			if code, _ := get(t, "http://"+addr+"/report"); code != http.StatusOK { // encodes it once
				t.Fatalf("/report: %d", code)
			}
			before, most := memory(), 0
			for i := range tt.clients {
				c := tt.open(t, addr)
				// The server closes most of them; what this side keeps open is bounded by RLIMIT_NOFILE.
				if c != nil && i >= tt.clients-300 {
					t.Cleanup(func() { _ = c.Close() })
				} else if c != nil {
					time.AfterFunc(500*time.Millisecond, func() { _ = c.Close() })
				}
				if i%(tt.clients/10) == tt.clients/10-1 {
					began := time.Now()
					code, body := get(t, "http://"+addr+"/livez")
					if took := time.Since(began); code != http.StatusOK || took > probeTime {
						t.Errorf("with %d clients /livez answers %d %s after %v", i, code, body, took)
					}
					most = max(most, memory())
				}
			}
			if most-before > 8 {
				t.Errorf("memory grew from %d to %d MiB", before, most)
			}
			t.Logf("memory %d MiB, at most %d MiB", before, most)
		})
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return nil // the server has closed it
	}
	return c
}

// A client that has most connections loses its own: not those of others, and of
// its own first one that waits.
func TestVictim(t *testing.T) {
	conn := func(host string, active bool) *connection { return &connection{host: host, active: active} }
	for _, tt := range []struct {
		name string
		open []*connection
		want int
	}{
		{"the oldest", []*connection{conn("a", false), conn("a", false), conn("a", false)}, 0},
		{"not another's", []*connection{conn("b", false), conn("a", false), conn("a", false), conn("b", false), conn("a", false)}, 1},
		{"one that waits", []*connection{conn("a", true), conn("a", false), conn("a", false)}, 1},
		{"all are active", []*connection{conn("b", false), conn("a", true), conn("a", true), conn("b", false), conn("a", true)}, 1},
		{"not the new one", []*connection{conn("b", true), conn("a", true), conn("b", false)}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &connections{open: tt.open}
			if got := c.victim(); got != tt.open[tt.want] {
				t.Errorf("closes %+v, want number %d", got, tt.want)
			}
		})
	}
}

// A connection that is kept alive is served for as long as there is room.
func TestKeepAlive(t *testing.T) {
	addr := start(t, handlers(&Policy{Report: Closed}), "")
	c := dial(t, addr)
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	for range 3 {
		_, _ = io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if string(b) != "alive" {
			t.Errorf("got %q", b)
		}
	}
}

func TestInFlight(t *testing.T) {
	release := make(chan struct{})
	var entered atomic.Int64
	h := inFlight(2, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered.Add(1)
		<-release
	}))
	ended := make(chan struct{})
	for range 2 {
		go func() {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
			ended <- struct{}{}
		}()
	}
	for entered.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Connection") != "close" {
		t.Errorf("the third is answered with %d", w.Code)
	}
	close(release)
	<-ended
	<-ended
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusOK {
		t.Errorf("after them: %d", w.Code)
	}
}

// Deleted files that were not below a log directory are no part of the report.
func TestReportLeavesOutOtherDeletedFiles(t *testing.T) {
	s := reporter.Snapshot{Disk: reporter.Result[disk.Usage]{At: time.Now(), Value: disk.Usage{Deleted: []logs.Deleted{
		{Path: "/var/log/app.log"}, {Path: "/var/logs/secret"}, {Path: "/home/alice/secret"}, {Path: "/var/log"}, {Path: "/data/logs/a"}, {Path: "relative"}, {Path: ""},
	}}}}
	p := &Report{Snapshot: func() reporter.Snapshot { return s }, LogPaths: func() []string { return []string{"/var/log", "/data/logs/"} }}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/report", nil))
	var d struct {
		Disk struct{ Deleted []struct{ Path string } }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(d.Disk.Deleted); got != "[{/var/log/app.log} {/data/logs/a}]" {
		t.Errorf("deleted files %v", got)
	}
	if len(s.Disk.Value.Deleted) != 7 || s.Disk.Value.Deleted[2].Path != "/home/alice/secret" {
		t.Error("the snapshot was changed")
	}
}

// All clients share one encoding.
func TestReportIsEncodedOnce(t *testing.T) {
	n := 0
	p := &Report{Snapshot: func() reporter.Snapshot { n++; return reporter.Snapshot{} }, LogPaths: func() []string { return nil }}
	now := time.Now()
	first, _ := p.document(now)
	again, _ := p.document(now.Add(reportMaxAge - 1))
	if n != 1 || &first[0] != &again[0] {
		t.Errorf("encoded %d times", n)
	}
	if _, _ = p.document(now.Add(reportMaxAge)); n != 2 {
		t.Errorf("encoded %d times after %v", n, reportMaxAge)
	}
}

func TestPolicyValidate(t *testing.T) {
	for report, want := range map[ReportAccess]string{Closed: "", Authorised: "", Open: "", "": "report", "public": "want closed, authorised, open"} {
		err := Policy{Report: report}.Validate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", report, err)
		}
	}
}
