package web

import (
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/page"
	"github.com/nodetune/nodetune/sysctl"
)

// hostileNode has names that a browser must not obey, and that are too long for
// any screen.
func hostileNode(now time.Time) page.Input {
	var u inotify.Usage
	var d disk.Usage
	var r sysctl.PassResult
	var acts []reporter.Act
	u.Limits = inotify.Limits{OpenFiles: 99, FileMax: 100}
	for i, n := range []string{
		`<script>document.title="obeyed";alert(1)</script>`, `"><img src=x onerror="document.title='obeyed'">`, `</style><script src=//evil.example/x.js></script>`, `<svg onload=alert(1)>`,
		`<iframe src="javascript:alert(1)"></iframe>`, `<meta http-equiv=refresh content=0;url=//evil.example>`, `<a href=javascript:alert(1)>click</a>`, `<style>body{display:none}</style>`,
		"a\u202egnp.exe", "שלום-עולם", strings.Repeat("x", 4096), strings.Repeat("漢", 1365), strings.Repeat("\xff", 4096), strings.Repeat("\u202e", 1366), strings.Repeat("<", 4096),
	} {
		w := workload.Workload{Namespace: n, Pod: n, Container: n}
		u.Accounts = append(u.Accounts, inotify.Account{Owner: inotify.Owner{UserNS: inotify.InitialUserNS, UID: math.MaxUint32 - uint32(i)}, Instances: math.MaxInt32, InstancesLimit: math.MaxInt32, Watches: math.MaxInt32, WatchesLimit: math.MaxInt32, InstancesQuality: inotify.Exact, WatchesQuality: inotify.Exact, TopPID: i + 1, TopWatchesPID: i + 1})
		u.Processes = append(u.Processes, inotify.Process{PID: i + 1, Comm: n, Namespace: n, Pod: n, Container: n, Instances: math.MaxInt32, Watches: math.MaxInt32, FDs: 1024, NOFILESoft: 1024})
		u.Refusals = append(u.Refusals, inotify.SyscallFailure{Call: inotify.CallInit, Errno: 24, Resource: inotify.Instances, PID: i, Comm: n, Namespace: n, Pod: n, Count: math.MaxInt32, At: now})
		d.Filesystems = append(d.Filesystems, filesystem.Filesystem{Path: "/" + n, Type: "ext4", State: filesystem.StateOK, SizeBytes: math.MaxUint64, AvailBytes: 1 << 40, Roles: []filesystem.Role{filesystem.RoleLogs}})
		d.Producers = append(d.Producers, logs.Producer{Kind: logs.KindContainer, Workload: w, Bytes: math.MaxUint64})
		d.Readers = append(d.Readers, logs.Reader{PID: i, Comm: n, Who: w, Log: w, Path: n, LagBytes: math.MaxUint64, OffsetBytes: new(uint64), StalledSince: &now})
		d.Unfollowed = append(d.Unfollowed, logs.Unfollowed{Workload: w, Path: n})
		r.Rules = append(r.Rules, sysctl.Status{Rule: sysctl.Rule{Key: sysctl.Key(n), Op: sysctl.AtLeast, Want: math.MaxInt64}, Outcome: sysctl.Refused, Reason: n})
		r.ObservedWrites = append(r.ObservedWrites, sysctl.ObservedWrite{Key: sysctl.MaxUserInstances, From: 1, To: 2, Process: n, Namespace: n, Pod: n, Last: now})
		acts = append(acts, reporter.Act{At: now, Kind: reporter.ActReclaim, On: n, What: n, Why: n, Count: 1})
	}
	policy := inotify.DefaultPolicy()
	u.Findings = inotify.Pressure(u, policy)
	d.Pressure = disk.Assessment{Severity: disk.Bad, Reason: disk.ReasonSpaceLow, Message: d.Filesystems[0].Path + " has 1%"}
	d.Reading = disk.Assessment{Severity: disk.Bad, Reason: disk.ReasonStalled, Message: d.Readers[1].Comm}
	return page.Input{
		Snapshot: reporter.Snapshot{
			Sysctl:  reporter.Result[sysctl.PassResult]{Value: r, At: now},
			Inotify: reporter.Result[inotify.Usage]{Value: u, At: now},
			Disk:    reporter.Result[disk.Usage]{Value: d, At: now},
		},
		Acts: acts, Policy: policy, StaleAfter: time.Minute, Now: now, Node: d.Readers[0].Comm, DiskMode: disk.Assist,
	}
}

// layout is what the browser made of a page.
type layout struct {
	Title      string
	Width      int // of what is drawn
	Room       int // of the window
	Background string
	Contrast   float64 // the least of any text
	Heading    string
	Elements   int // that no page of nodetune has
	Short      []string
}

// measure computes the layout. Contrast is that of WCAG 2 between the colour of a
// text and the background behind it.
const measure = `(() => {
  const rgb = c => c.match(/[\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = rgb(c).map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 }); return .2126 * r + .7152 * g + .0722 * b };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if ((rgb(c)[3] ?? 1) > 0) return c } return 'rgb(255, 255, 255)' };
  let contrast = 21, short = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()) || !e.checkVisibility()) continue;
    const a = light(getComputedStyle(e).color), b = light(behind(e)), c = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    contrast = Math.min(contrast, c);
    if (c < 4.5) short.push(e.tagName + '.' + e.className);
  }
  return {
    Title: document.title, Width: document.documentElement.scrollWidth, Room: document.documentElement.clientWidth, Background: getComputedStyle(document.body).backgroundColor,
    Contrast: contrast, Heading: document.querySelector('h1')?.textContent ?? '', Elements: document.querySelectorAll('script,img,iframe,link,object,embed,form,input,a:not(footer a)').length, Short: short.slice(0, 5),
  };
})()`

// show sets the window and the colour scheme, and opens url.
func (b *browser) show(url string, width int, scheme string) ([]string, layout) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	wrong := complaints(b.open(url), url)
	var l layout
	b.evaluate(measure, &l)
	return wrong, l
}

// The page in a real browser: at the widths of a phone, a tablet and a desk, light
// and dark, nothing is wider than the window, every text can be read, nothing that
// others chose is obeyed, and the page keeps to its own policy.
func TestPageInChromium(t *testing.T) {
	b := startBrowser(t)
	now := time.Now()
	status := page.NewStatus(hostileNode(now))
	h := handlers(&Policy{Report: Closed})
	h.Page = &Page{Status: func(time.Time) page.Status { return status }}
	url := "http://" + start(t, h, "") + "/"
	for _, width := range []int{360, 768, 1280} {
		for scheme, background := range map[string]string{"light": "rgb(255, 255, 255)", "dark": "rgb(17, 20, 24)"} {
			t.Run(fmt.Sprint(width, scheme), func(t *testing.T) {
				wrong, l := b.show(url, width, scheme)
				if len(wrong) > 0 {
					t.Errorf("the browser reports %s", strings.Join(wrong, "\n"))
				}
				if l.Width > l.Room || l.Room != width {
					t.Errorf("the page is %d wide, in a window of %d", l.Width, l.Room)
				}
				if l.Background != background {
					t.Errorf("the background is %s, want %s", l.Background, background)
				}
				if l.Contrast < 4.5 { // WCAG 2.2, 1.4.3
					t.Errorf("the least contrast of a text is %.1f: %v", l.Contrast, l.Short)
				}
				if l.Title == "obeyed" || l.Elements != 0 || l.Heading == "" {
					t.Errorf("the title is %q, the heading %q, and %d elements are not the page's", l.Title, l.Heading, l.Elements)
				}
				if dir := os.Getenv("NODETUNE_SCREENSHOTS"); dir != "" {
					b.screenshot(filepath.Join(dir, fmt.Sprintf("%d-%s.png", width, scheme)))
				}
			})
		}
	}
	t.Run("faults are found", func(t *testing.T) { findsFaults(t, b) })
}

// screenshot writes what is seen.
func (b *browser) screenshot(name string) {
	b.t.Helper()
	var r struct{ Data string }
	b.call("Page.captureScreenshot", nil, &r)
	png, err := base64.StdEncoding.DecodeString(r.Data)
	if err == nil {
		err = os.WriteFile(name, png, 0o644)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// findsFaults checks the checks: a page that breaks its policy, asks for something
// else, runs a script or is too wide is found.
func findsFaults(t *testing.T, b *browser) {
	for _, tt := range []struct{ name, policy, body, want string }{
		{"a script", page.ContentSecurityPolicy(), `<h1>a</h1><script>document.title="obeyed"</script>`, "script-src"},
		{"a style", page.ContentSecurityPolicy(), `<h1 style="color:red">a</h1>`, "style-src"},
		{"an image", page.ContentSecurityPolicy(), `<h1>a</h1><img src="x.png">`, "img-src"},
		{"a request", "", `<h1>a</h1><img src="x.png">`, "request of"},
		{"an error", "", `<h1>a</h1><script>nothing()</script>`, "exceptionThrown"},
		{"too wide", "", `<div style="width:5000px">a</div>`, "too wide"},
		{"grey on grey", "", `<p style="color:#999;background:#ccc">a</p>`, "contrast"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/" {
					http.NotFound(w, r)
					return
				}
				w.Header().Set("Content-Type", "text/html")
				if tt.policy != "" {
					w.Header().Set("Content-Security-Policy", tt.policy)
				}
				_, _ = io.WriteString(w, "<!DOCTYPE html><title>a</title>"+tt.body)
			}))
			defer srv.Close()
			wrong, l := b.show(srv.URL+"/", 768, "light")
			if l.Width > l.Room {
				wrong = append(wrong, "too wide")
			}
			if l.Contrast < 4.5 {
				wrong = append(wrong, "contrast")
			}
			if !strings.Contains(strings.Join(wrong, "\n"), tt.want) {
				t.Errorf("found %q, want %q", wrong, tt.want)
			}
			if l.Title != "a" {
				t.Errorf("the script ran: %q", l.Title)
			}
		})
	}
}
