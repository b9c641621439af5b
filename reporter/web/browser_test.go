package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/privtest"
)

// browser is a headless Chromium that is driven over its DevTools pipe: JSON
// messages that end with NUL, on descriptors 3 and 4. One page is open.
type browser struct {
	t       *testing.T
	to      io.WriteCloser
	session string

	mu      sync.Mutex
	next    int
	answers map[int]chan message
	events  []message
	news    chan struct{} // has room for one: there is a new event
	ended   chan struct{}
}

type message struct {
	ID        int             `json:"id"`
	Method    string          `json:"method"`
	Params    json.RawMessage `json:"params"`
	Result    json.RawMessage `json:"result"`
	SessionID string          `json:"sessionId"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// startBrowser starts Chromium with an empty page, and ends it with the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	exe, err := exec.LookPath("chromium")
	switch {
	case err != nil && os.Getenv(privtest.Env) == "1":
		t.Fatalf("%v: run .ci/deps", err)
	case err != nil:
		t.Skip("chromium is not installed; .ci/deps installs it, and make test runs this")
	}
	toChild, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, fromChild, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, exe, "--headless", "--remote-debugging-pipe", "--hide-scrollbars", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--user-data-dir="+t.TempDir())
	if os.Geteuid() == 0 {
		cmd.Args = append(cmd.Args, "--no-sandbox") // it does not start as root
	}
	cmd.ExtraFiles = []*os.File{toChild, fromChild}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // and its renderers
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = toChild.Close()
	_ = fromChild.Close()
	b := &browser{t: t, to: to, answers: map[int]chan message{}, news: make(chan struct{}, 1), ended: make(chan struct{})}
	go b.read(from)
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		<-b.ended
		_ = to.Close()
		if t.Failed() {
			t.Logf("chromium: %s", stderr.String())
		}
	})
	var target struct{ TargetID, SessionID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	for _, domain := range []string{"Page.enable", "Log.enable", "Runtime.enable", "Network.enable"} {
		b.call(domain, nil, nil)
	}
	return b
}

// read distributes what the browser sends.
func (b *browser) read(from *os.File) {
	defer close(b.ended)
	defer func() { _ = from.Close() }()
	var all []byte
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		all = append(all, buf[:n]...)
		for {
			text, rest, found := bytes.Cut(all, []byte{0})
			if !found {
				break
			}
			all = rest
			var m message
			if json.Unmarshal(text, &m) != nil {
				continue
			}
			b.mu.Lock()
			if answer := b.answers[m.ID]; m.ID != 0 && answer != nil {
				answer <- m
			} else {
				b.events = append(b.events, m)
				select {
				case b.news <- struct{}{}:
				default:
				}
			}
			b.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// patience is far more than a step takes on a busy machine.
const patience = 2 * time.Minute

// call calls a method of the DevTools protocol.
func (b *browser) call(method string, params any, result any) {
	b.t.Helper()
	b.mu.Lock()
	b.next++
	id, answer := b.next, make(chan message, 1)
	b.answers[id] = answer
	b.mu.Unlock()
	m := map[string]any{"id": id, "method": method}
	if params != nil {
		m["params"] = params
	}
	if b.session != "" {
		m["sessionId"] = b.session
	}
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.to.Write(append(text, 0))
	}
	if err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case a := <-answer:
		if a.Error != nil {
			b.t.Fatalf("%s: %s", method, a.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(a.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-b.ended:
		b.t.Fatalf("%s: chromium has ended", method)
	case <-time.After(patience):
		b.t.Fatalf("%s: no answer", method)
	}
}

// open loads url and returns the events until it is loaded.
func (b *browser) open(url string) []message {
	b.t.Helper()
	b.mu.Lock()
	b.events = nil
	b.mu.Unlock()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		for _, e := range b.events {
			if e.Method == "Page.loadEventFired" {
				all := b.events
				b.mu.Unlock()
				return all
			}
		}
		b.mu.Unlock()
		select {
		case <-b.news:
		case <-b.ended:
			b.t.Fatal("chromium has ended")
		case <-deadline:
			b.t.Fatalf("%s is not loaded", url)
		}
	}
}

// evaluate runs an expression in the page. The page's policy does not stop the
// debugger.
func (b *browser) evaluate(expression string, value any) {
	b.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Text string }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, r.ExceptionDetails.Text)
	}
	if err := json.Unmarshal(r.Result.Value, value); err != nil {
		b.t.Fatal(errors.Join(errors.New(expression), err))
	}
}

// complaints are the events that a page without a fault does not cause: what the
// policy refused, errors, dialogs, and requests beside the page's own.
func complaints(events []message, url string) []string {
	var all []string
	for _, e := range events {
		switch e.Method {
		case "Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening":
			if text := string(e.Params); !strings.Contains(text, "favicon") {
				all = append(all, e.Method+" "+text)
			}
		case "Network.requestWillBeSent":
			var p struct{ Request struct{ URL string } }
			if json.Unmarshal(e.Params, &p) == nil && p.Request.URL != url && !strings.HasSuffix(p.Request.URL, "/favicon.ico") {
				all = append(all, "request of "+p.Request.URL)
			}
		}
	}
	return all
}
